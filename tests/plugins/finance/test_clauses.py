"""Which words of a sentence speak of which company. The companies are fictitious, the sentences as in papers.

In the table, T is Torvenna, S Skelvoort, Q Quellmar; "T|S" are two clauses, "TS" is one about both, a small letter is
a company that the clause only sets against another.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych_finance.language.clauses import clauses
from triptych_finance.language.entities import Gazetteer

LETTERS = {"TVNA": "T", "SKQ": "S", "QLMR": "Q", "ON": "O", "BRW.B": "B", "ZLMS": "Z"}

TWO_CLAUSES = """
Torvenna beats forecasts; Skelvoort misses them by a wide margin
Torvenna beats forecasts, Skelvoort misses them
Torvenna beats forecasts but Skelvoort misses them
Torvenna beats forecasts, but Skelvoort misses them
Torvenna rose 4 % while Skelvoort lost 3 %
While Torvenna rose 4 %, Skelvoort lost 3 %
Although Torvenna cut its forecast, Skelvoort stuck to its own
As Torvenna slumps, Skelvoort soars
Torvenna rallies as Skelvoort stumbles
Torvenna up 4 %, Skelvoort down 3 %
Torvenna +4 %, Skelvoort -3 %
Torvenna shares gained 2 percent and Skelvoort shares fell 5 percent
Torvenna raised its dividend, whereas Skelvoort scrapped its own
Torvenna raised its dividend. However weak the market, Skelvoort cut its own
Torvenna is hiring - Skelvoort is not
Torvenna is hiring – Skelvoort is firing
Torvenna is hiring—Skelvoort is firing
Torvenna to cut 300 jobs, Skelvoort to add 200
Torvenna under pressure, Skelvoort at record high after upgrade
Torvenna upgraded to buy | Skelvoort downgraded to sell
Torvenna soared on a takeover offer, and Skelvoort slid on a warning
Torvenna fell after Skelvoort cancelled a large order
Torvenna shuts a plant because Skelvoort stopped buying its axles
Torvenna gains despite Skelvoort strike
Torvenna's profit doubled; Skelvoort's halved
Torvenna profit jumps, Skelvoort's outlook disappoints
Torvenna, hit by a strike, closes a plant, while Skelvoort works around the clock
Torvenna closes a plant, while Skelvoort, its largest client, opens one
Torvenna closes a plant, Skelvoort, hit by a strike, does so too
Torvenna drops out of the tender, leaving Skelvoort with the order
Torvenna recalls its trains and passengers turn to Skelvoort
Torvenna outfoxes regulators while Skelvoort dithers
Torvenna was fined EUR 20 million on Monday, even though Skelvoort did the same and went free
On a day when Torvenna crashed, Skelvoort hardly moved
Torvenna Machinery (TVNA) jumped 7 %, but Skelvoort Rail (SKQ) sank 2 %
$TVNA ripping higher today, meanwhile $SKQ can't catch a bid
Torvenna beats, Skelvoort misses, analysts said
"Torvenna has turned the corner, but Skelvoort has not," one broker wrote
Torvenna's loss narrowed to EUR 3m, Skelvoort's widened to EUR 9m
Torvenna's profit more than doubled, in contrast to Skelvoort, where orders dried up
Brokers cut Torvenna to hold, lift Skelvoort to buy
Rating agency raises Torvenna, keeps Skelvoort on watch for a downgrade
Investors dump Torvenna and pile into Skelvoort
Short sellers retreat from Torvenna, turn to Skelvoort
Selling $TVNA, buying $SKQ
With Torvenna booming and Skelvoort struggling, holders ask for a merger
The market likes Torvenna; it does not like Skelvoort
Torvenna led gainers, rising 4%, and Skelvoort was the worst performer, down 6%
Torvenna stands firm in a weak market, but it is too early to say the same of Skelvoort
Torvenna won two orders and lost none, Skelvoort won none and lost two
""".strip().splitlines()

ONE_CLAUSE = """
Torvenna and Skelvoort agree on a merger
Torvenna, Skelvoort agree on a merger
Torvenna and Skelvoort shares both fell 3 %
Shares of Torvenna and Skelvoort fell
Torvenna fell 4 percent and Skelvoort 2 percent
Torvenna as well as Skelvoort raised prices
Both Torvenna and Skelvoort cut jobs
Neither Torvenna nor Skelvoort would comment
Torvenna to buy Skelvoort for EUR 2 bn
Torvenna, which supplies Skelvoort, fell
Torvenna raised its stake in Skelvoort to 30 %
Talks between Torvenna and Skelvoort collapse
Torvenna said Skelvoort had cancelled an order
Torvenna, maker of lathes, and Skelvoort, maker of trains
Analysts prefer makers such as Torvenna, Skelvoort and others
What is the difference between Torvenna and Skelvoort?
Torvenna / Skelvoort
Torvenna but also Skelvoort
""".strip().splitlines()

OPPOSED = """
Torvenna wins a contract from Skelvoort
Torvenna takes market share from its rival Skelvoort
Torvenna took two clients from the bigger Skelvoort
Torvenna poached three engineers from Skelvoort
Torvenna loses its largest client to Skelvoort
Torvenna lost the tender to rival Skelvoort
Torvenna is losing ground to Skelvoort
Torvenna cedes its place in the index to Skelvoort
Torvenna beats Skelvoort to a rail order
Torvenna outbids Skelvoort
Torvenna has overtaken Skelvoort
Torvenna beaten by Skelvoort
Torvenna was outpaced by its competitor Skelvoort
Torvenna prevails over Skelvoort in a patent dispute
Torvenna was preferred over Skelvoort
Torvenna grows at the expense of Skelvoort
Torvenna grows faster than Skelvoort
Torvenna, unlike Skelvoort, raised its dividend
Torvenna and not Skelvoort will build the trains
Torvenna rises but not Skelvoort
Ministry chooses Torvenna instead of Skelvoort
Torvenna must pay Skelvoort damages of EUR 10m
Court orders Torvenna to pay Skelvoort $40 million
Torvenna raised its dividend, in contrast to Skelvoort
Torvenna replaces Skelvoort as supplier of doors to the state railway
Torvenna ordered to pay Skelvoort compensation
Torvenna wins the contract that Skelvoort had held for years
Torvenna is refused the permit that Skelvoort has just been granted
""".strip().splitlines()

NOT_OPPOSED = """
Torvenna gets an order from Skelvoort
Torvenna sells its rail unit to Skelvoort
Torvenna hands a report to the ministry, as Skelvoort did
Torvenna pays Skelvoort for two trains
Torvenna takes over Skelvoort
Torvenna to pay Skelvoort EUR 40m for its rail unit
Torvenna fell with Skelvoort after the levy was announced
Torvenna and Skelvoort beat forecasts
Torvenna buys the plant that Skelvoort closed
Analysts turn more cautious on Torvenna than before, also on Skelvoort
""".strip().splitlines()


def read(companies: Gazetteer, text: str) -> str:
    parts = []
    for clause in clauses(text, companies.find(text)):
        letters = [(LETTERS[s].lower() if s in clause.opposed else LETTERS[s]) for s in clause.symbols]
        parts.append("".join(letters))
    return "|".join(parts)


@pytest.mark.parametrize("text", TWO_CLAUSES)
def test_each_company_has_a_clause_of_its_own(companies: Gazetteer, text: str):
    assert read(companies, text) == "T|S"


@pytest.mark.parametrize("text", ONE_CLAUSE)
def test_what_is_said_of_both_is_said_once(companies: Gazetteer, text: str):
    assert read(companies, text) == "TS"


@pytest.mark.parametrize("text", OPPOSED)
def test_the_loss_of_one_is_the_gain_of_the_other(companies: Gazetteer, text: str):
    assert read(companies, text) == "Ts"


@pytest.mark.parametrize("text", NOT_OPPOSED)
def test_two_companies_in_one_clause_are_not_always_rivals(companies: Gazetteer, text: str):
    assert "s" not in read(companies, text)
    assert "t" not in read(companies, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Unlike Skelvoort, Torvenna raised its dividend", "sT"),
        ("Not Skelvoort but Torvenna gets the order", "sT"),
        ("Torvenna and Skelvoort rise, Quellmar falls", "TS|Q"),
        ("Torvenna rises, Skelvoort and Quellmar fall", "T|SQ"),
        ("Torvenna rises, Skelvoort falls and Quellmar stays flat", "T|S|Q"),
        ("Winners: Torvenna, Skelvoort; losers: Quellmar", "TS|Q"),
        ("Torvenna wins orders from Quellmar while Skelvoort shuts a plant", "Tq|S"),
        ("Quellmar Gas and Power rises and Brewick & Sons falls", "Q|B"),
        ("Torvenna rises, but Torvenna bonds fall and Skelvoort is flat", "T|S"),
        ("Torvenna hires the best engineers of Skelvoort, which is left with empty desks", "T|S"),
        ("Torvenna sells a unit to Skelvoort, whose shares fell", "T|S"),
        ("Torvenna rises", "T"),
        ("Torvenna rises but costs rise too; orders fall", "T"),
        ("Nothing of note", ""),
    ],
)
def test_clauses_of_any_number_of_companies(companies: Gazetteer, text: str, expected: str):
    assert read(companies, text) == expected


def test_a_clause_is_read_without_the_word_that_joined_it(companies: Gazetteer):
    text = "While Torvenna rose, helped by exports, Skelvoort fell - but only a little."
    first, second = clauses(text, companies.find(text))
    assert first.text == "Torvenna rose, helped by exports"
    assert second.text == "Skelvoort fell - but only a little."


def test_a_sentence_about_one_company_stays_whole(companies: Gazetteer):
    text = "Torvenna rises, but its bonds fall"
    assert [clause.text for clause in clauses(text, companies.find(text))] == [text]


_PIECES = ["Torvenna", "Skelvoort", "Quellmar", "rises", "falls", "and", "but", ",", ";", "while", "as", "not", "from"]


@given(st.lists(st.sampled_from([*_PIECES, "which", "unlike", "to", "wins", "-", "..."]), max_size=14).map(" ".join))
def test_no_company_is_lost_or_invented(companies: Gazetteer, text: str):
    mentions = companies.find(text)
    found = clauses(text, mentions)
    assert {symbol for clause in found for symbol in clause.symbols} == {mention.symbol for mention in mentions}
    for clause in found:
        assert set(clause.opposed) <= set(clause.symbols)
        assert not clause.opposed or len(clause.opposed) < len(clause.symbols)
        assert clause.text in text
