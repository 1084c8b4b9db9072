"""Articles: what is read, what is refused and how it is told, and how found articles are ranked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from triptych.errors import DataError
from triptych.retrieval.index import Hit
from triptych_customer_service.intents import SAMPLE
from triptych_customer_service.knowledge import best_quote, rank, read_articles
from triptych_customer_service.settings import Settings
from triptych_customer_service.vertical import CustomerService

GOOD = {"id": "a1", "title": "Returns", "body": "Send it back."}


def test_csv_and_jsonl_give_the_same_articles(tmp_path: Path):
    table, lines = tmp_path / "kb.csv", tmp_path / "kb.jsonl"
    table.write_text('id,title,body,intents,keywords\na1,Returns,"Send it\nback.",ret|exc,give back\na2,B,Body,,\n')
    first = {"id": "a1", "title": "Returns", "body": "Send it\nback.", "intents": ["ret", "exc"]}
    rows = [{**first, "keywords": ["give back"]}, {"id": "a2", "title": "B", "body": "Body"}]
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_articles(table) == read_articles(lines)
    assert read_articles(table)[0].intents == ("ret", "exc")


def test_a_byte_order_mark_and_semicolons_in_cells_do_no_harm(tmp_path: Path):
    path = tmp_path / "kb.csv"
    path.write_bytes("\ufeffid,title,body\na1,Rückgabe,Bitte; zurücksenden\n".encode())
    assert read_articles(path)[0].title == "Rückgabe"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("kb.csv", b"id,title\n1,x\n", "kb.csv: the header lacks body; found: id, title"),
        ("kb.csv", b"", "kb.csv: the header lacks id, title, body; found: nothing"),
        ("kb.csv", b"id,title,body\n", "kb.csv: the knowledge base has no articles"),
        ("kb.csv", b"id,title,body\na,b,c\na,b\n", "kb.csv, row 2: the row has not as many cells"),
        ("kb.csv", b"id,title,body\na,b,c,d\n", "kb.csv, row 1: the row has not as many cells"),
        ("kb.csv", b"id,title,body\na,b,c\na,x,y\n", "kb.csv, row 2: the id 'a' is used twice"),
        ("kb.csv", b"id,title,body\na,, \n", "kb.csv, row 1: 'title' must be a text that is not empty"),
        ("kb.csv", b"id,title,body\na,b,\xff\n", "kb.csv: the knowledge base is not UTF-8"),
        ("kb.jsonl", b'{"id": "a"\n', "kb.jsonl, row 1: not valid JSON"),
        ("kb.jsonl", b"\n[1, 2]\n", "kb.jsonl, row 2: expected an object"),
        ("kb.jsonl", b'{"id": 3, "title": "t", "body": "b"}', "kb.jsonl, row 1: 'id' must be a text"),
        (
            "kb.jsonl",
            b'{"id": "a", "title": "t", "body": "b", "intents": 3}',
            "kb.jsonl, row 1: 'intents' must be a list",
        ),
        ("kb.txt", b"hello", "kb.txt: a knowledge base is a .csv or a .jsonl file"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_row(tmp_path: Path, name: str, content: bytes, problem: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_articles(tmp_path / name)
    assert problem in str(caught.value)


def test_a_missing_file_names_the_key_to_check(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.csv: .*vertical.knowledge_base"):
        read_articles(tmp_path / "none.csv")


def test_the_intent_decides_between_articles_whose_words_are_equally_near():
    hits = [
        Hit("a", 0.40, {"title": "A", "body": "A.", "intents": ["return_item"]}),
        Hit("b", 0.38, {"title": "B", "body": "B.", "intents": ["refund_status"]}),
    ]
    matches = rank(hits, {"refund_status": 0.9, "return_item": 0.1}, 0.3)
    assert [match.article.id for match in matches] == ["b", "a"]
    assert matches[0].score == pytest.approx(0.7 * 0.38 + 0.3 * 0.9)


def test_articles_without_intents_are_ranked_by_similarity_alone():
    matches = rank([Hit("a", 0.4, {"title": "A", "body": "A."})], {"x": 1.0}, 0.3)
    assert matches[0].score == pytest.approx(0.4)


def test_the_quote_falls_back_to_the_first_sentence():
    article = read_articles(SAMPLE / "knowledge_base.jsonl")[0]
    assert article.body.startswith(best_quote(article, None))
    assert article.body.startswith(best_quote(article, "zzzz"))


def test_the_shop_of_the_sample_never_speaks_for_yours(tmp_path: Path):
    vertical = CustomerService()
    own = tmp_path / "messages.csv"
    assert vertical.documents(Settings(), own) == []
    assert len(vertical.documents(Settings(), vertical.sample_data(tmp_path))) >= 40
    articles = tmp_path / "kb.jsonl"
    articles.write_text(json.dumps(GOOD))
    for data in (own, vertical.sample_data(tmp_path)):
        documents = vertical.documents(Settings(knowledge_base=str(articles)), data)
        assert [document.sample.id for document in documents] == ["a1"]
