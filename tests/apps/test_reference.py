"""The generated pages are what the code says now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from triptych.config import Config, DataConfig, Section
from triptych_apps import reference
from triptych_apps.cli import COMMANDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
AGAIN = "run: python -m triptych_apps.reference docs"


def test_every_schema_is_current():
    for name, text in reference.schemas().items():
        assert (DOCS / "schemas" / name).read_text(encoding="utf-8") == text, f"{name}: {AGAIN}"


def test_no_schema_is_left_over():
    assert {file.name for file in (DOCS / "schemas").glob("*.json")} == set(reference.schemas())


def test_the_configuration_page_is_current():
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference.configuration(), AGAIN


def test_the_help_pages_and_exit_codes_are_current():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert reference.fill(page) == page, AGAIN


def test_every_command_is_on_the_page():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert {name for name in COMMANDS if f"<!-- begin help triptych {name} -->" not in page} == set()


def test_every_schema_is_linked_from_the_page():
    linked = set(re.findall(r"schemas/(\S+?\.json)", (DOCS / "cli.md").read_text(encoding="utf-8")))
    assert {name for name in reference.schemas() if not name.startswith("ask-")} == linked


def test_every_field_of_a_result_is_described_or_obvious_from_its_type():
    for text in reference.schemas().values():
        schema = json.loads(text)
        assert schema["type"] == "object"
        assert schema["properties"]


def test_every_config_key_of_the_core_has_a_meaning():
    text = reference.configuration().partition("## `[vertical]`")[0]
    blank = [
        line.split("|")[1].strip() for line in text.splitlines() if re.fullmatch(r"\| `[^|]+\| *[^|]*\|.*\|  \|", line)
    ]
    assert blank == []


def test_comments_beside_fields_are_their_meaning():
    assert reference.comments(Config)["seed"] == "of splits, initial weights and batches"
    assert "hub:NAME" in reference.comments(DataConfig)["path"]


def test_a_command_that_does_not_exist_is_not_documented():
    with pytest.raises(ValueError, match="is not a command"):
        reference.fill("<!-- begin help triptych nothing -->\n<!-- end -->")


def test_sections_are_listed_apart():
    keys = re.findall(r"^\| `([\w.]+)`", reference.configuration(), re.MULTILINE)
    assert "data.columns.text" in keys
    assert "data.columns" not in keys
    assert issubclass(DataConfig, Section)
