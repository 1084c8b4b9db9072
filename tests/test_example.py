"""The example plugin of docs/plugins.md: built, installed and found as any stranger's package, then used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "triptych_florist"


class Shop:
    """The suite with the plugin installed beside it; every command is a process of its own."""

    def __init__(self, packages: Path, home: Path) -> None:
        quick = {"TRIPTYCH__COMPRESSION__ENABLED": "false", "TRIPTYCH__COMPRESSION__MEMORY": "false"}
        self.environment = {**os.environ, **quick, "PYTHONPATH": str(packages), "TRIPTYCH_HOME": str(home)}
        self.scripts = packages / "bin"

    def triptych(self, *arguments: str, program: str = "triptych") -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.argv[0] = sys.argv.pop(1); from triptych_apps.cli import main, vertical_main; "
        code += "main() if sys.argv[0] == 'triptych' else vertical_main()"
        command = [sys.executable, "-c", code, program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, timeout=250)

    def json(self, *arguments: str, program: str = "triptych") -> Any:
        done = self.triptych(*arguments, "--json", program=program)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    packages = tmp_path_factory.mktemp("packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(packages), str(EXAMPLE)], check=True, capture_output=True, text=True)
    return Shop(packages, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def outcome(shop: Shop) -> dict[str, Any]:
    result: dict[str, Any] = shop.json("run", "florist")
    return result


def test_it_is_found_with_all_it_offers(shop):
    listed = json.dumps(shop.json("plugins"))
    offers = ("triptych_florist.florist:Florist", "palette", "catalogue", "GET /v1/florist/flowers", "/pages/florist/")
    for offered in (*offers, "triptych_before_answer"):
        assert offered.rpartition(":")[2] in listed or offered in listed


def test_its_command_is_one_of_the_suite(shop):
    assert "catalogue" in shop.triptych("--help").stdout
    assert shop.triptych("catalogue", "--up-to", "15").stdout.split()[0] == "14.00"


def test_it_has_a_console_script_of_its_own(shop):
    assert (shop.scripts / "triptych-florist").is_file()
    assert "florist" in shop.triptych("--help", program="triptych-florist").stdout


@pytest.mark.slow
def test_it_is_built_from_its_sample_data(outcome):
    assert outcome["metrics"]["test"]["accuracy"] > 0.8
    assert set(outcome["metrics"]["data"]) >= {"train", "validation", "test"}


@pytest.mark.slow
def test_it_answers_within_the_budget(shop, outcome):
    response = shop.json("ask", "florist", "I need white flowers for a wedding", "--budget", "60")
    assert response["intent"] == "order"
    assert response["evidence"][0]["id"] == "White lily bouquet"
    assert "cats" in response["answer"]


@pytest.mark.slow
def test_it_answers_a_picture(shop, outcome, tmp_path):
    from PIL import Image

    Image.new("RGB", (80, 60), (110, 96, 40)).save(tmp_path / "leaf.png")
    response = shop.json("ask", "--image", str(tmp_path / "leaf.png"), program="triptych-florist")
    assert response["intent"] == "care"
    assert response["attribution"] == {"image": 1.0}


@pytest.fixture
def florist(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin's package, without installing it."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import triptych_florist

    return triptych_florist


def test_its_parts_keep_the_promises_of_their_base_classes(florist, tmp_path):
    import numpy as np

    from triptych.testing import check_encoder, check_vertical
    from triptych_florist.florist import Florist
    from triptych_florist.palette import Palette

    pictures = np.random.default_rng(0).integers(0, 255, (3, 30, 40, 3), dtype=np.uint8)
    check_encoder(Palette.create(), list(pictures), tmp_path)
    check_vertical(Florist(), tmp_path)


def test_its_rule_needs_no_model(florist, tmp_path):
    page = (EXAMPLE.parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = page.partition("what a model would\nsay.\n\n```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/plugins.md", "exec"), names)
    names["test_nothing_beyond_the_budget"](tmp_path)


def test_its_route_and_its_page_are_served(florist, tmp_path):
    """Before any model is there: what the server makes of them, and what the function says."""
    from types import SimpleNamespace

    from triptych.host import Host
    from triptych_apps.server.service import Service
    from triptych_apps.server.settings import Settings
    from triptych_apps.server.site import Site
    from triptych_florist.florist import Florist, FloristSettings
    from triptych_florist.routes import FlowersQuery

    host = Host({"florist": florist}, installed=False)
    site = Site([Service(str(tmp_path), Florist(), Settings(), host=host)], Settings())
    described = site.api.openapi()["paths"]["/v1/florist/flowers"]["get"]
    assert [parameter["name"] for parameter in described["parameters"]] == ["up_to"]
    assert site.pages.links[0].url == "/pages/florist/"
    context = SimpleNamespace(predictor=SimpleNamespace(settings=FloristSettings(courier="a van")))
    found = host.load_route(host.routes("florist")[0])(context, FlowersQuery(up_to=15))
    assert found.flowers
    assert max(flower.price for flower in found.flowers) <= 15
    assert found.courier == "a van"


def test_its_guardrail_hides_card_numbers(florist):
    from triptych.host import Host
    from triptych.vertical import Request

    host = Host({"florist": florist}, installed=False)
    request = host.before_answer("florist", Request(text="my card is 4111 1111 1111 1111, thank you"))
    assert request.text == "my card is [card number], thank you"
    kept = host.redact("florist", Request(text="my card is 4111 1111 1111 1111, thank you"))
    assert kept.text == "my card is [card], thank you"


def test_its_guardrail_refuses_a_novel(florist):
    from triptych.errors import RefusedError
    from triptych.host import Host
    from triptych.vertical import Request

    with pytest.raises(RefusedError, match="2000 characters"):
        Host({"florist": florist}, installed=False).before_answer("florist", Request(text="roses " * 1000))
