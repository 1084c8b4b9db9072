"""Results for people and for programs."""

from __future__ import annotations

import io
import json
import math

import pytest

from triptych_apps import output, render
from triptych_apps.output import format_value, print_json, print_pairs, print_table
from triptych_apps.render import print_ledger, print_metrics


def test_json_is_one_line(capsys):
    print_json({"a": "Zürich 苏黎世", "b": [1, 2.5]})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": "Zürich 苏黎世", "b": [1, 2.5]}


def test_numbers_that_json_does_not_have_are_null(capsys):
    print_json({"a": math.nan, "b": [math.inf], "c": {"d": -math.inf}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None], "c": {"d": None}}


def test_json_is_ascii_where_the_terminal_has_nothing_else(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    print_json({"a": "苏黎世"})
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == {"a": "苏黎世"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93421, "0.934"),
        (0.0, "0.000"),
        (1.0, "1.000"),
        (3.14159, "3.14"),
        (61.34, "61.3"),
        (12345.6, "12,346"),
        (-0.5, "-0.500"),
        (math.nan, "-"),
        (None, "-"),
        (True, "yes"),
        (600, "600"),
        (["text", "image"], "text, image"),
        ({"text": 0.7, "image": 0.3}, "text 0.700, image 0.300"),
        ("words", "words"),
    ],
)
def test_values_as_people_read_them(value, text):
    assert format_value(value) == text


def test_a_table_in_a_file_has_no_blanks_at_the_end_and_loses_nothing(capsys):
    print_table("Title", ("name", "size"), [("long " * 30, 1.0), ("b", 2.0)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Title"
    assert all(line == line.rstrip() for line in lines)
    assert sum(line.count("long") for line in lines) == 30


def test_square_brackets_are_no_markup(capsys):
    print_pairs("", {"evidence": "[bold] kb-1 [/bold]"})
    assert "[bold] kb-1 [/bold]" in capsys.readouterr().out


def test_nothing_is_printed_for_no_rows(capsys):
    print_table("Title", ("a",), [])
    print_pairs("Title", {"a": None})
    assert capsys.readouterr().out == ""


def test_metrics_stand_in_a_column_for_each_split(capsys):
    print_metrics(
        {
            "validation": {"accuracy": 0.9},
            "test": {
                "accuracy": 0.91,
                "low": 0.88,
                "high": 0.94,
                "ece": 0.02,
                "out_of_scope": {"auroc": 0.97},
                "confusion": [[1, 2], [3, 4]],
            },
            "data": {"train": 100},
            "subsets": {
                "rows": [{"parts": "text", "accuracy": 0.8, "low": 0.7}, {"parts": "text + image", "accuracy": 0.9}],
                "best_single": "text",
                "verdict": "all modalities together are better",
            },
            "vertical": {
                "shelves": 4,
                "shelf_life": {"rows": [{"days": 7, "kept": 0.75}], "verdict": "it keeps"},
                "smell": {"rows": [], "verdict": "nothing smelled"},
            },
        }
    )
    out = capsys.readouterr().out
    assert "0.910 (0.880 to 0.940)" in out
    assert "out of scope: auroc" in out
    assert "confusion" not in out
    assert "train" not in out
    assert "text + image" in out
    assert "all modalities together are better" in out
    assert "Shelf life" in out
    assert out.index("shelves") < out.index("0.75") < out.index("it keeps") < out.index("nothing smelled")
    assert out.count("ece") == 1


def test_the_ledger_shows_the_chosen_variant_and_the_rival(capsys):
    quality = {"metric": "accuracy", "value": 0.93, "low": 0.9, "high": 0.95}
    variant = {"name": "frozen", "quality": quality, "size_mb": 90.1, "p50_ms": 12.0, "cost_per_million": 1.5}
    rival = {"name": "tf-idf", "quality": {"metric": "accuracy", "value": 0.88}, "size_mb": 3.0, "p50_ms": 0.5}
    print_ledger(
        {
            "variants": [{**variant, "currency": "EUR"}],
            "chosen": "frozen",
            "why": "The only one.",
            "verdict": "Worth it.",
            "rival": rival,
        }
    )
    out = capsys.readouterr().out
    assert "chosen" in next(line for line in out.splitlines() if "frozen" in line)
    assert "1.50 EUR" in out
    assert "tf-idf" in out
    assert "The only one." in out
    assert "Worth it." in out
    assert "memory" not in out  # a column that nobody has a value for


def test_the_ledger_shows_what_compression_saved(capsys):
    def variant(name, value, cost):
        quality = {"metric": "accuracy", "value": value, "higher_is_better": True}
        times = {"p50_ms": 3.0, "p95_ms": 4.5, "p99_ms": 9.0}
        return {"name": name, "quality": quality, "cost_per_million": cost, "currency": "EUR", **times}

    print_ledger(
        {
            "variants": [variant("full", 0.937, 0.26), variant("int8", 0.935, 0.08), variant("static", 0.92, 0.00634)],
            "chosen": "static",
            "parent": "full",
            "front": ["full", "static"],
            "refused": {"int8": "calibration"},
            "why": "The cheapest.",
            "break_even": [{"sentence": "Pays from 10 requests on."}],
            "rival": {"name": "tf-idf", "quality": {"metric": "accuracy", "value": 0.9}},
        }
    )
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "(parent, front)" in lines["full"]
    assert "times" not in lines["full"]
    assert "(not offered)" in lines["int8"]
    assert "(chosen, front)" in lines["static"]
    assert "41 times less" in lines["static"]
    assert "1.70" in lines["static"]
    assert "0.0063 EUR" in lines["static"]
    assert "3.00 / 4.50" in lines["static"]
    assert "(rival)" in lines["tf-idf"]
    assert "Pays" in lines


def test_warnings_are_talk_and_not_endless(capsys):
    render.print_warnings([f"warning number {i}" for i in range(30)])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 11
    assert "20 more" in captured.err


def test_the_console_honours_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.console().no_color
