"""Which companies a text names, and how files of companies are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import DataError, TriptychError, UnknownNameError
from triptych_finance.language.entities import Company, Gazetteer


def named(companies: Gazetteer, text: str) -> list[str]:
    return [mention.symbol for mention in companies.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Torvenna lifts profit", ["TVNA"]),
        ("TORVENNA LIFTS PROFIT", ["TVNA"]),
        ("torvenna's profit, skelvoort’s loss", ["TVNA", "SKQ"]),
        ("Torvenna-led group and ex-Skelvoort boss", ["TVNA", "SKQ"]),
        ("Torvennas and Untorvenna are other words", []),
        ("Torvenna Machinery buys Quellmar Gas and Power", ["TVNA", "QLMR"]),
        ("Torvenna  Machinery\nand Quellmar", ["TVNA", "QLMR"]),
        ("Brewick and Sons, Brewick & Sons, Brewick", ["BRW.B", "BRW.B", "BRW.B"]),
        ("Onvera Inc said, Onvera, Inc. said, ONVERA said", ["ON", "ON", "ON"]),
        ("Zélmoris, ZÉLMORIS, Ze\u0301lmoris and St Zelmoris", ["ZLMS"] * 4),
        ("Zelmoris without its accent is not known", []),
        ("TVNA rises, tvna and Tvna do not count", ["TVNA"]),
        ("$TVNA $tvna $Tvna", ["TVNA"] * 3),
        ("SKQ rises", ["SKQ"]),
        ("(SKQ) (NYSE: SKQ) (NYSE:SKQ) NASDAQ: SKQ LSE:SKQ", ["SKQ"] * 5),
        ("skq is no word of ours, nor is (skq)", []),
        ("Put it ON the table, ON AND OFF", []),
        ("$ON and $on, (ON) and NYSE: ON", ["ON"] * 4),
        ("SKQ AND TVNA ARE WORDS IN A LINE OF CAPITALS", []),
        ("$SKQ AND TVNA ARE WORDS IN A LINE OF CAPITALS (TVNA)", ["SKQ", "TVNA"]),
        ("BRW.B gains, $BRW.B too, $brw.b as well", ["BRW.B"] * 3),
        ("TVNA.L and SKQ-linked notes", ["TVNA", "SKQ"]),
        ("BRW.A is another class; ATVNA and TVNAX are others", []),
        ("Torvenna (TVNA) is named twice", ["TVNA", "TVNA"]),
        ("x" * 100_000, []),
        ("$" * 10_000 + "(" * 10_000, []),
        ("", []),
    ],
)
def test_companies_are_found_where_they_are_named(companies: Gazetteer, text: str, expected: list[str]):
    assert named(companies, text) == expected


def test_of_names_that_overlap_the_longest_is_taken(companies: Gazetteer):
    text = "Quellmar Gas and Power, Quellmar Energy and Quellmar"
    assert [mention.alias for mention in companies.find(text)] == [
        "Quellmar Gas and Power",
        "Quellmar Energy",
        "Quellmar",
    ]


def test_a_single_letter_needs_a_mark():
    one = Gazetteer([Company("T", "Torvenna", "")])
    assert [mention.alias for mention in one.find("Model T, $T, (T) and NYSE: T")] == ["$T", "T", "T"]


@given(st.text(alphabet=st.sampled_from("TVNA skq$().:-&torvenna Machinery\n.é"), max_size=60))
def test_mentions_are_in_order_apart_and_where_they_say(companies: Gazetteer, text: str):
    end = 0
    for mention in companies.find(text):
        assert end <= mention.start < mention.end
        assert text[mention.start : mention.end] == mention.alias
        end = mention.end


def test_a_symbol_is_known_however_it_is_given(companies: Gazetteer):
    assert [companies.known(symbol) for symbol in ("tvna", " $TVNA ", "brw.b", "NOBODY", "")] == [
        "TVNA", "TVNA", "BRW.B", None, None
    ]  # fmt: skip
    assert companies.name("$skq") == "Skelvoort Rail"
    assert companies.sector("QLMR") == "Energy"
    with pytest.raises(UnknownNameError, match=r"No company is called 'TVNB'\. Did you mean 'TVNA'\?"):
        companies.sector("TVNB")


CSV = "symbol,name,sector,aliases\nTVNA,Torvenna Machinery,Industrials,Torvenna|Torvenna Group\nSKQ,Skelvoort Rail,,\n"
JSONL = (
    '{"symbol": "TVNA", "name": "Torvenna Machinery", "sector": "Industrials",'
    ' "aliases": ["Torvenna", "Torvenna Group"]}\n'
    '{"symbol": "SKQ", "name": "Skelvoort Rail"}\n'
)
TOML = """
[[company]]
symbol = "TVNA"
name = "Torvenna Machinery"
sector = "Industrials"
aliases = ["Torvenna", "Torvenna Group"]
[[company]]
symbol = "SKQ"
name = "Skelvoort Rail"
"""


@pytest.mark.parametrize(("name", "content"), [("c.csv", CSV), ("c.jsonl", JSONL), ("c.toml", TOML)])
def test_a_file_of_companies_says_the_same_in_each_format(tmp_path: Path, name: str, content: str):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    companies = Gazetteer.read(path)
    assert companies.symbols == ["TVNA", "SKQ"]
    assert (companies.sector("TVNA"), companies.sector("SKQ")) == ("Industrials", "")
    assert named(companies, "Torvenna Group meets Skelvoort Rail; Skelvoort alone is nobody") == ["TVNA", "SKQ"]


def test_without_a_name_a_company_is_found_by_its_symbol(tmp_path: Path):
    path = tmp_path / "symbols.csv"
    path.write_text("symbol\nTVNA\n")
    assert named(Gazetteer.read(path), "$tvna up") == ["TVNA"]


def test_the_sample_has_companies():
    sample = Gazetteer.read(None)
    assert len(sample.symbols) == 12
    assert named(sample, "Torvenna beats Skelvoort Rail") == ["TVNA", "SKQ"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "ticker\nTVNA\n", r"c\.csv: there is no column 'symbol'; found: ticker"),
        ("c.csv", "symbol,name\nTVNA,A Firm\nTVNA,B Firm\n", r"c\.csv, row 2: the symbol 'TVNA' is given twice"),
        ("c.csv", "symbol\nTVNA\ntvna\n", r"c\.csv: the symbol 'tvna' is given twice"),
        ("c.csv", "symbol,name\nTVNA,Same\nSKQ,same\n", r"c\.csv: 'same' names both TVNA and SKQ"),
        ("c.csv", "symbol,aliases\nTVNA,x\n", r"c\.csv: 'x', a name of TVNA, is too short"),
        ("c.csv", "symbol,aliases\nTVNA,!!\n", r"c\.csv: '!!', a name of TVNA, is too short"),
        ("c.csv", "symbol,name\n,Nobody\n", r"c\.csv, row 1: 'symbol' must be 1 to 20 characters"),
        ("c.csv", "symbol\nTWO WORDS\n", r"c\.csv, row 1: 'symbol' must be"),
        ("c.csv", "symbol,name\nTVNA\n", r"c\.csv, row 1: "),
        ("c.jsonl", '{"symbol": 5}\n', r"c\.jsonl, row 1: 'symbol' must be a text, got 5"),
        ("c.jsonl", '{"symbol": "A1", "aliases": [5]}\n', r"c\.jsonl, row 1: 'aliases' must be texts"),
        ("c.toml", "[[company]]\nsymbol = 'A1'\nalias = 'x'\n", r"c\.toml, row 1: unknown key 'alias'"),
        ("c.toml", "[companies]\n", r"c\.toml: companies are written as tables \[\[company\]\]"),
        ("c.toml", "[[company]\n", r"c\.toml: the companies cannot be read"),
        ("c.toml", "", r"c\.toml: there are no companies"),
        ("c.txt", "TVNA", r"c\.txt: companies come in a \.toml"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, content: str, message: str):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Gazetteer.read(path)


@pytest.mark.parametrize("name", ["c.toml", "c.csv"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str):
    with pytest.raises(TriptychError, match=f"{name}: the file does not exist"):
        Gazetteer.read(tmp_path / name)
