"""The docs say what the code does: hooks, floors, links, settings and snippets."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from triptych import hookspecs
from triptych.host import Host
from triptych.vertical import Vertical

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
PAGES += [REPOSITORY / "benchmarks" / "README.md", REPOSITORY / "changelog" / "README.md"]
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("triptych_")}
SNIPPET = re.compile(r"^```python(?P<run> run)?\n(?P<code>.*?)^```", re.M | re.S)


def snippets() -> list[object]:
    found = []
    for page in PAGES:
        for number, match in enumerate(SNIPPET.finditer(page.read_text(encoding="utf-8")), 1):
            found.append(pytest.param(match["code"], bool(match["run"]), id=f"{page.stem}-{number}"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize(("code", "run"), snippets())
def test_snippets_are_python_and_run_where_marked(code, run):
    compiled = compile(code, "snippet", "exec")
    if run:
        exec(compiled, {"__name__": "snippet"})


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_signature(name):
    signature = inspect.signature(HOOKS[name])
    written = f"    {name}{signature}".replace("'", "")
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert f"### {name}\n\n{written}\n" in page


def test_no_documented_hook_is_gone():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (triptych_\w+)$", page, re.M)) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_explains_itself_and_is_called_by_a_test_of_the_host(name):
    assert len(inspect.getdoc(HOOKS[name]) or "") > 80
    tests = (REPOSITORY / "tests" / "core" / "test_host.py").read_text(encoding="utf-8")
    assert f"{name}=" in tests


def test_the_example_uses_every_hook():
    source = (REPOSITORY / "examples" / "triptych_florist" / "triptych_florist" / "__init__.py").read_text("utf-8")
    assert set(re.findall(r"def (triptych_\w+)", source)) == set(HOOKS)


def test_every_method_of_a_vertical_is_explained_to_its_author():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    table = page.partition("## What `Vertical` asks for")[2].partition("\n## ")[0]
    methods = {name for name, value in vars(Vertical).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert set(re.findall(r"^\| `(\w+)\(", table, re.M)) == methods


def test_every_kind_of_part_is_explained_to_its_author():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    table = page.partition("## A part of your own")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == {part.kind for part in Host(installed=False).parts()}


def test_base_classes_named_in_the_docs_exist():
    import pkgutil

    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(triptych\.[a-z_.]+\.[A-Z]\w+)`", page):
        assert pkgutil.resolve_name(name)


def test_the_floors_in_the_docs_are_those_that_are_checked():
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["id"] == "floors")["layers"]
    checked = [set(re.findall(r"\w+", layer)) for layer in layers]
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| (.*?) \|", page.partition("<!-- begin floors -->")[2], re.M)
    written = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    assert written[:2] == [
        {"triptych_apps"},
        {"triptych_customer_service", "triptych_finance", "triptych_recommendation"},
    ]
    assert written[2:] == checked


def test_every_strategy_is_explained_with_its_cost():
    page = (DOCS / "economics.md").read_text(encoding="utf-8").partition("| strategy |")[2]
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.M)) == {
        p.name for p in Host(installed=False).parts("strategy")
    }


def test_every_compressor_is_explained():
    page = (DOCS / "economics.md").read_text(encoding="utf-8").partition("| compressor |")[2].partition("\n\n")[0]
    written = {name.partition(":")[0] for name in re.findall(r"`([\w:.-]+)`", page)}
    assert written == {p.name for p in Host(installed=False).parts("compressor")}


def test_every_benchmark_is_listed():
    page = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")
    scripts = {file.name for file in (REPOSITORY / "benchmarks").glob("*.py") if "__main__" in file.read_text("utf-8")}
    assert set(re.findall(r"^\| `(\w+\.py)` \|", page, re.M)) == scripts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_settings_named_in_the_docs_exist(page):
    from triptych.config import load_config

    overrides = re.findall(r"--set ([a-z_.]+=[\w.:-]+)", page.read_text(encoding="utf-8"))
    load_config({}, overrides=[o for o in overrides if not o.startswith(("key=", "vertical."))])


def test_python_versions_agree():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
