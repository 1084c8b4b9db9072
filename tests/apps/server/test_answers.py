"""What a client sends and what it gets, over real HTTP."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from pydantic import BaseModel

from tests.apps.server.conftest import Running, error_kind
from tests.apps.server.desk import Desk
from tests.apps.shop import write_sound
from tests.core.runtime.serving import Served
from triptych.errors import ConfigError
from triptych.vertical import Request
from triptych_apps.server.shapes import shape_of


def picture(colour: str = "blue", kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, kind)
    return content.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_sound(tmp_path_factory.mktemp("sound") / "a.wav", "green").read_bytes()


def text64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_words_are_answered(ask: httpx.Client):
    response = ask.post("/v1/desk/answer", json={"text": "is it red?", "count": 3, "tags": ["a"], "options": {"b": 2}})
    assert response.status_code == 200
    body = response.json()
    assert body["answer"] == "It is red"
    assert body["received"] == {"tags": ["a"], "count": 3, "options": {"b": 2}}
    assert (body["variant"], response.headers["triptych-variant"]) == ("large", "large")
    assert "triptych-fallback" not in response.headers
    assert len(response.headers["request-id"]) == 16


def test_files_come_as_base64_or_in_a_form_and_mean_the_same(ask: httpx.Client, sound: bytes):
    as_json = {"image": text64(picture()), "audio": text64(sound), "paper": text64(b"any bytes"), "tags": ["a", "b"]}
    first = ask.post("/v1/desk/answer", json={**as_json, "options": {"x": 1}, "count": 2})
    files = {"image": ("../../etc/passwd", picture()), "audio": ("a.wav", sound), "paper": ("p", b"any bytes")}
    data: dict[str, Any] = {"tags": ["a", "b"], "options": '{"x": 1}', "count": "2"}
    second = ask.post("/v1/desk/answer", files=files, data=data)
    assert first.status_code == second.status_code == 200, (first.text, second.text)
    told = [{k: v for k, v in r.json().items() if k != "milliseconds"} for r in (first, second)]
    assert told[0] == told[1]
    assert told[0]["received"]["paper"] == 9
    assert sorted(told[0]["attribution"]) == ["audio", "image"]


def test_a_batch_has_one_result_for_each_request_in_order(ask: httpx.Client):
    requests = [{"text": "red"}, {"text": "wrong"}, {"nothing": 1}, {"text": "boom green"}, {}, {"text": "blue"}]
    response = ask.post("/v1/desk/answers", json={"requests": requests})
    assert response.status_code == 200
    answers = response.json()["answers"]
    assert [a.get("answer") or a["error"]["kind"] for a in answers] == [
        "It is red", "invalid", "invalid", "internal", "invalid", "It is blue",
    ]  # fmt: skip
    assert "secret" not in response.text


def test_what_a_vertical_is(ask: httpx.Client):
    about = ask.get("/v1/desk").json()
    assert (about["vertical"], about["variant"], about["fallback"]) == ("desk", "small>large", "small")
    assert about["modalities"] == ["text", "image", "audio"]
    assert (about["price_per_million"], about["currency"]) == (10.0, "EUR")


@pytest.mark.parametrize(
    ("path", "options", "status", "kind"),
    [
        ("/v1/desk/answer", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        ("/v1/desk/answer", {"content": b'{"text": NaN}', "headers": {"content-type": "application/json"}}, 400, ""),
        ("/v1/desk/answer", {"content": b"[" * 9000, "headers": {"content-type": "application/json"}}, 400, ""),
        ("/v1/desk/answer", {"content": b'"\\ud800"', "headers": {"content-type": "application/json"}}, 400, ""),
        ("/v1/desk/answer", {"json": [1]}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"text": 7}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"text": "red", "colour": 1}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"text": "red", "count": 10}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"text": "wrong"}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"text": "boom"}}, 500, "internal"),
        ("/v1/desk/answer", {"json": {"text": "x" * 20_001}}, 413, "too_large"),
        ("/v1/desk/answer", {"json": {"image": "/etc/passwd"}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"image": ""}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"image": 7}}, 422, "invalid"),
        ("/v1/desk/answer", {"json": {"image": text64(b"no picture")}}, 415, "unsupported_media"),
        ("/v1/desk/answer", {"json": {"audio": text64(b"no sound")}}, 415, "unsupported_media"),
        ("/v1/desk/answer", {"data": {"image": "/etc/passwd"}}, 415, "unsupported_media"),  # urlencoded
        ("/v1/desk/answer", {"files": {"image": (None, "/etc/passwd")}}, 422, "invalid"),
        ("/v1/desk/answer", {"files": {"text": ("a.txt", b"red")}}, 422, "invalid"),
        ("/v1/desk/answer", {"files": {"options": (None, "{")}}, 422, "invalid"),
        ("/v1/desk/answer", {"files": [("text", (None, "a")), ("text", (None, "b"))]}, 422, "invalid"),
        ("/v1/desk/answer", {"content": b"text=red", "headers": {"content-type": "text/plain"}}, 415, ""),
        ("/v1/desk/answer", {"json": {"text": "red"}, "headers": {"content-encoding": "gzip"}}, 415, ""),
        ("/v1/desk/answers", {"json": {"requests": []}}, 422, "invalid"),
        ("/v1/desk/answers", {"json": {"requests": [{"text": "red"}] * 65}}, 422, "invalid"),
        ("/v1/desk/answers", {"json": {"requests": [{}], "more": 1}}, 422, "invalid"),
        ("/v1/desk/answers", {"files": {"requests": (None, "[]")}}, 415, "unsupported_media"),
        ("/v1/shop/answer", {"json": {"text": "red"}}, 404, "not_found"),
        ("/v1/desk", {"json": {"text": "red"}}, 405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_shape(ask: httpx.Client, path: str, options: Any, status: int, kind: str):
    response = ask.post(path, **options)
    assert response.status_code == status, response.text
    assert error_kind(response) == (kind or error_kind(response))
    assert "secret" not in response.text


def test_the_description_is_valid_and_the_answers_are_as_it_says(ask: httpx.Client):
    document = ask.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("post", "/v1/desk/answer", {"json": {"text": "red"}}),
        ("post", "/v1/desk/answer", {"json": {"text": 1}}),
        ("post", "/v1/desk/answers", {"json": {"requests": [{"text": "red"}, {"text": 1}]}}),
        ("get", "/v1/desk", {}),
        ("get", "/health/ready", {}),
    ]
    for method, path, options in calls:
        response = ask.request(method, path, **options)
        described = document["paths"][path][method]["responses"][str(response.status_code)]
        schema = described["content"]["application/json"]["schema"] | {"components": document["components"]}
        Draft202012Validator(schema).validate(response.json())
        told = {name for name in response.headers if name.startswith("triptych")}
        assert told <= {name.lower() for name in described.get("headers", {})}


def test_requests_that_fit_the_description_are_taken_and_others_are_not(ask: httpx.Client):
    document = ask.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/DeskRequest", "components": document["components"]}
    for body in (
        {"text": "red", "count": 9},
        {"text": None, "tags": ["a"], "options": None, "image": text64(picture())},
    ):
        Draft202012Validator(schema).validate(body)
        assert ask.post("/v1/desk/answer", json=body).status_code == 200
    for wrong in ({"count": 0}, {"colour": 1}, {"tags": "a"}, {"image": 1}):
        assert not Draft202012Validator(schema).is_valid(wrong)
        assert ask.post("/v1/desk/answer", json=wrong).status_code == 422


def test_a_form_is_described_with_its_files(ask: httpx.Client):
    schemas = ask.get("/openapi.json").json()["components"]["schemas"]
    form = schemas["DeskRequestForm"]["properties"]
    assert form["image"]["contentMediaType"] == "application/octet-stream"
    assert form["options"]["contentMediaType"] == "application/json"
    assert form["tags"]["type"] == "array"
    assert schemas["DeskRequest"]["properties"]["paper"]["anyOf"][0]["contentEncoding"] == "base64"


def test_a_vertical_that_would_take_a_path_is_not_served():
    from pathlib import Path

    class Nested(BaseModel):
        where: Path

    class Deep(Request):
        nested: list[Nested]

    class Mixed(Request):
        file: Path | str | None = None

    for wrong in (Deep, Mixed):
        vertical = Desk()
        vertical.request_type = wrong  # type: ignore[assignment]
        with pytest.raises(ConfigError, match="takes a path"):
            shape_of(vertical)
    assert shape_of(Served()).files == {"image", "audio"}


def test_no_answer_allows_other_sites_to_read_it(ask: httpx.Client):
    response = ask.post("/v1/desk/answer", json={"text": "red"}, headers={"origin": str(ask.base_url)})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = ask.options("/v1/desk/answer", headers={"origin": "http://a.example"})
    assert preflight.status_code == 405


def test_measurements(served: Running, ask: httpx.Client):
    ask.post("/v1/desk/answer", json={"text": "red"})
    text = ask.get("/metrics").text
    release = served.site.services[0].releases[0].version
    assert f'triptych_answers_total{{mode="model",release="{release}",variant="large",vertical="desk"}}' in text
    assert 'triptych_cost_total{currency="EUR",vertical="desk"}' in text
    assert 'triptych_waiting{vertical="desk"} 0.0' in text
    assert 'triptych_ready{vertical="desk"} 1.0' in text
    assert 'route="POST /v1/desk/answer",status="200"' in text


@pytest.mark.parametrize("probe", ["live", "startup", "ready"])
def test_probes(ask: httpx.Client, probe: str):
    assert ask.get(f"/health/{probe}").status_code == 200
