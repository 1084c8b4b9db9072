"""Amounts that are set against each other in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_finance.language.figures import HIGHER, LOWER, UNCHANGED, comparisons, with_comparisons


def words(text: str) -> list[str]:
    return [word for _, word in comparisons(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Operating result totalled EUR 9.1 mn compared to EUR 10.6 mn in 2004 .", LOWER),
        ("EPS stood at EUR0 .07 versus EUR0 .01 .", HIGHER),
        ("Net sales rose to 1.2 bn euros from 940 mn euros .", HIGHER),
        ("Sales went from EUR 4.8 mn in the first quarter to EUR 6.4 mn in the second .", HIGHER),
        ("The margin was 13.6 % , compared to 14.3 % in Q2 2009 .", LOWER),
        ("Net profit was $ 1,275 from $ 1,300 a year earlier .", LOWER),
        ("Operating profit was EUR 37,7 mn , against EUR 37.2 mn .", HIGHER),
        ("Profit was 22.1 , from 19.9 mln eur .", HIGHER),
        ("Turnover was EUR 5 mn ( USD 7 m ) , compared with EUR 6 mn .", LOWER),
        ("A share costs 16.5 euros , from 16.5 euros in May .", UNCHANGED),
    ],
)
def test_the_new_figure_is_compared_with_the_old_one(text: str, expected: str) -> None:
    assert words(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Its net loss narrowed to EUR 7 mn from EUR 23 mn .", HIGHER),
        ("Operating loss totalled EUR 3.2 mn , compared to a profit of EUR 7.2 mn .", LOWER),
        ("It turned to a profit of EUR 0.03 mn from a loss of EUR 0.01 mn .", HIGHER),
        ("Cash flow was a negative EUR 18.1 mn compared to EUR 39.0 mn .", LOWER),
        ("Cash flow totalled EUR 7.4 mn , compared to a negative EUR 68.6 mn .", HIGHER),
        ("It expects a profit of EUR 6.3 mn , from a EUR 9.6 mn loss a year earlier .", HIGHER),
        ("Profit was EUR 3.1 mn , from EUR -24.5 mn a year ago .", HIGHER),
    ],
)
def test_a_loss_is_less_than_nothing(text: str, expected: str) -> None:
    assert words(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "The company was founded in 1994 and moved in 2006 .",
        "From May 3 to May 19 the shop is closed .",
        "It paid EUR 3 mn , compared to USD 5 mn .",
        "Profit fell from EUR 3 mn while sales grew from EUR 5 mn , as compared to 2005 .",
        "The price could range from 70 million to 90 million euros .",
        "It employs more than 1,800 people in 120 shops .",
        "",
    ],
)
def test_what_is_not_set_against_each_other_is_left_alone(text: str) -> None:
    assert with_comparisons(text) == text


def test_the_outcome_stands_behind_the_second_amount() -> None:
    text = "EPS was 0.07 versus 0.11 last year ; sales were EUR 5 mn , from EUR 4 mn ."
    assert with_comparisons(text) == (
        "EPS was 0.07 versus 0.11 ( lower ) last year ; sales were EUR 5 mn , from EUR 4 mn ( higher ) ."
    )


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_order_of_numbers_decides(new: int, old: int) -> None:
    expected = HIGHER if new > old else LOWER if new < old else UNCHANGED
    assert words(f"Sales were EUR {new / 100:.2f} mn , compared to EUR {old / 100:.2f} mn .") == [expected]
    assert words(f"Sales went from EUR {old / 100:.2f} mn to EUR {new / 100:.2f} mn .") == [expected]


@given(st.text())
def test_any_text_stays_itself_without_the_outcomes(text: str) -> None:
    marked = with_comparisons(text)
    for word in (HIGHER, LOWER, UNCHANGED):
        if f" ( {word} )" not in text:
            marked = marked.replace(f" ( {word} )", "")
    assert marked == text


@given(st.text(alphabet="0123456789.,-% EURmnfromtcopadlsv()", max_size=200))
def test_whatever_looks_like_an_amount_is_read_without_an_error(text: str) -> None:
    comparisons(text)
