"""LitServe's side of `serving_peers.py`: a module of its own, for its processes import the class by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litserve

from serving_peers import classifier


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Batches of up to 32, for which a request waits 5 ms at most."""

    bundle: Path

    def setup(self, device: str) -> None:
        """In the process that answers."""
        self.classify = classifier(self.bundle)

    def decode_request(self, request) -> str:  # type: ignore[no-untyped-def]
        """The message. Without a type, LitServe gives the JSON of the body."""
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        """A list is what the classifier takes."""
        return inputs

    def predict(self, inputs: list[str]) -> list[dict[str, Any]]:
        """A batch of messages."""
        return self.classify(inputs)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer for each."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


def run(bundle: Path, port: int) -> None:
    """Serve until the process is ended."""
    api = Api(max_batch_size=32, batch_timeout=0.005, api_path="/answer")
    api.bundle = bundle
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning")
