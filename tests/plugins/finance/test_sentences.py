"""Where sentences begin and end, and that no text is too long or too strange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_finance.language.sentences import LONGEST, MOST, cleaned, sentences


def split(text: str, **options: int) -> list[str]:
    return [sentence.text for sentence in sentences(text, **options)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Profit rises", ["Profit rises"]),
        ("Profit rose. Sales fell.", ["Profit rose.", "Sales fell."]),
        ("Profit rose 3.5 % to EUR 1.2 bn. Sales fell.", ["Profit rose 3.5 % to EUR 1.2 bn.", "Sales fell."]),
        (
            "Torvenna Inc. raised its forecast. It cited demand.",
            ["Torvenna Inc. raised its forecast.", "It cited demand."],
        ),
        ("It sued Torvenna Inc. The shares fell.", ["It sued Torvenna Inc.", "The shares fell."]),
        ("Torvenna Corp. Chief Ilse Varnholt quits.", ["Torvenna Corp. Chief Ilse Varnholt quits."]),
        (
            "Sales in the U.S. market fell. Mr. Akkerhals resigned.",
            ["Sales in the U.S. market fell.", "Mr. Akkerhals resigned."],
        ),
        ("Demand grew in the U.S. Analysts cheered.", ["Demand grew in the U.S.", "Analysts cheered."]),
        (
            "J. P. Damsteen will lead the unit. He starts in Jan. 2026.",
            ["J. P. Damsteen will lead the unit.", "He starts in Jan. 2026."],
        ),
        ("See No. 5 on the list. Is it good? Yes!", ["See No. 5 on the list.", "Is it good?", "Yes!"]),
        ("Will it pay? No. The board refused.", ["Will it pay?", "No.", "The board refused."]),
        ("Wait... what? Never mind.", ["Wait... what?", "Never mind."]),
        ('"We grew." said nobody. "It is over." He left.', ['"We grew." said nobody.', '"It is over."', "He left."]),
        ("Shares fell (by 3 %.) Then they rose.", ["Shares fell (by 3 %.)", "Then they rose."]),
        ("wow!!! $TVNA to the moon!!", ["wow!!!", "$TVNA to the moon!!"]),
        ("More at example.com/news. Sales rose.", ["More at example.com/news.", "Sales rose."]),
        ("Costs fell vs. last year. Good.", ["Costs fell vs. last year.", "Good."]),
        ("利润上升。销售下降！", ["利润上升。", "销售下降！"]),
        (
            "Torvenna cuts jobs\nThe maker of machines said so.",
            ["Torvenna cuts jobs", "The maker of machines said so."],
        ),
        ("Torvenna, the maker of\nmachines, cuts jobs.", ["Torvenna, the maker of machines, cuts jobs."]),
        ("Headline\nProfit at\nTorvenna rose. Good.", ["Headline", "Profit at Torvenna rose.", "Good."]),
        ("Results\n\nprofit up\n- sales down\n- debt flat", ["Results", "profit up", "- sales down", "- debt flat"]),
        ("First\r\nSecond one\r\nstill second.", ["First", "Second one still second."]),
        ("Good news 🚀 -------- ... Bad news.", ["Good news 🚀 -------- ...", "Bad news."]),
        ("🚀🚀🚀", ["🚀🚀🚀"]),
        ("...", ["..."]),
        ("  \x00\u200b \n", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]):
    assert split(text) == expected


def test_the_place_of_a_sentence_is_that_in_the_text_as_it_was_given():
    text = "\x00 \n Profit\x07rose.\u200b  Sales \t fell."
    first, second = sentences(text)
    assert (first.text, text[first.start : first.end]) == ("Profit rose.", "Profit\x07rose.")
    assert (second.text, text[second.start : second.end]) == ("Sales fell.", "Sales \t fell.")


def test_a_sentence_without_an_end_is_cut_at_blanks():
    found = sentences("word " * 1_000)
    assert len(found) > 5
    assert all(len(sentence.text) <= LONGEST for sentence in found)
    assert {word for sentence in found for word in sentence.text.split()} == {"word"}


@pytest.mark.parametrize("unit", ["a", ".", "a. ", "\n", ". x", "(", '."', "\x00", " ", "9,", "No. ", "\ud800", "a\n"])
def test_ten_megabytes_of_anything_are_no_more_than_the_sentences_asked_for(unit: str):
    text = unit * (10_000_000 // len(unit)) + "x"
    assert len(sentences(text)) <= MOST
    assert len(sentences(text, most=3)) <= 3


def test_only_the_first_sentences_are_read():
    assert split("One. Two. Three. Four.", most=2) == ["One.", "Two."]


@given(st.text())
def test_cleaning_moves_nothing_and_leaves_what_can_be_written(text: str):
    clean = cleaned(text)
    assert len(clean) == len(text)
    clean.encode()
    assert cleaned(clean) == clean


@given(st.text(alphabet=st.sampled_from("aB1 .!?\n\r\"'-,(\x00\u200b。é🚀\ud800")), st.integers(1, 9))
def test_sentences_are_in_order_and_leave_no_word_out(text: str, most: int):
    everything = sentences(text, most=1_000)
    places = [place for sentence in everything for place in (sentence.start, sentence.end)]
    assert places == sorted(places)
    assert sentences(text, most=most) == everything[:most]
    kept = "".join(sentence.text for sentence in everything)
    assert sorted(c for c in kept if c.isalnum()) == sorted(c for c in text if c.isalnum())
    for sentence in everything:
        assert sentence.text == " ".join(cleaned(text[sentence.start : sentence.end]).split())
