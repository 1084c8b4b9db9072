"""The knowledge base: reading articles, and ranking those that retrieval found."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.errors import DataError
from triptych.types import Document, Sample

if TYPE_CHECKING:
    from triptych.retrieval.index import Hit

KEYS = ("id", "title", "body", "intents", "keywords")


@dataclass(frozen=True, slots=True)
class Article:
    """One article; `intents` are the labels it serves, `keywords` what customers may call the thing."""

    id: str
    title: str
    body: str
    intents: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    def document(self) -> Document:
        """The article as the index takes it: title, keywords and body are encoded."""
        named = (
            f"{self.title}. {', '.join(self.keywords)}. {self.body}" if self.keywords else f"{self.title}. {self.body}"
        )
        metadata = {
            "title": self.title,
            "body": self.body,
            "intents": list(self.intents),
            "keywords": list(self.keywords),
        }
        return Document(Sample(id=self.id, text=named), metadata)


def read_articles(path: Path) -> list[Article]:
    """The articles of a CSV (with a header) or JSONL file, with `id`, `title`, `body`, and maybe `intents`, `keywords`.

    In a CSV several intents or keywords are separated by `|`. Raises `DataError` naming file and row.
    """
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise DataError("a knowledge base is a .csv or a .jsonl file", file=path)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("the knowledge base does not exist; check vertical.knowledge_base", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"the knowledge base is not UTF-8 ({error.reason} at byte {error.start})", file=path) from error
    except OSError as error:
        raise DataError(f"the knowledge base cannot be read: {error.strerror}", file=path) from error
    rows = _csv_rows(content, path) if path.suffix.lower() == ".csv" else _json_rows(content, path)
    articles: dict[str, Article] = {}
    for row, values in rows:
        article = _article(values, path, row)
        if article.id in articles:
            raise DataError(f"the id {article.id!r} is used twice", file=path, row=row)
        articles[article.id] = article
    if not articles:
        raise DataError("the knowledge base has no articles", file=path)
    return list(articles.values())


def _csv_rows(content: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(content.splitlines(keepends=True), strict=True)
    _check_columns(reader.fieldnames or (), path)
    try:
        for row, values in enumerate(reader, start=1):
            if None in values or None in values.values():
                raise DataError(
                    f"the row has not as many cells as the header ({len(reader.fieldnames or ())})", file=path, row=row
                )
            yield row, {**values, **{k: values[k].split("|") for k in ("intents", "keywords") if values.get(k)}}
    except csv.Error as error:
        raise DataError(f"not a valid CSV file: {error}", file=path, row=reader.line_num) from error


def _check_columns(names: Iterable[str], path: Path) -> None:
    names = list(names)
    missing = [key for key in KEYS[:3] if key not in names]
    if missing:
        raise DataError(f"the header lacks {', '.join(missing)}; found: {', '.join(names) or 'nothing'}", file=path)


def _json_rows(content: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for row, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"not valid JSON: {error.msg} at column {error.colno}", file=path, row=row) from error
        if not isinstance(values, dict):
            raise DataError(
                f"expected an object with {', '.join(KEYS[:3])}, got {type(values).__name__}", file=path, row=row
            )
        yield row, values


def _article(values: Mapping[str, Any], path: Path, row: int) -> Article:
    for key in KEYS[:3]:
        value = values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{key!r} must be a text that is not empty, got {value!r}", file=path, row=row)
    lists = {}
    for key in KEYS[3:]:
        value = values.get(key) or ()
        if isinstance(value, str):
            value = value.split("|")
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise DataError(f"{key!r} must be a list of texts, got {value!r}", file=path, row=row)
        lists[key] = tuple(v.strip() for v in value if v.strip())
    return Article(
        values["id"].strip(), values["title"].strip(), values["body"].strip(), lists["intents"], lists["keywords"]
    )


@dataclass(frozen=True, slots=True)
class Match:
    """An article that may answer a request. `score` is in [0, 1]: similarity and, by `intent_weight`, the intent."""

    article: Article
    score: float
    similarity: float  # cosine


def rank(hits: Sequence[Hit], probabilities: Mapping[str, float], intent_weight: float) -> list[Match]:
    """The found articles, best first.

    Similarity alone is unsure when the words are few and the picture says the rest, so the probability of the intents
    that an article serves counts as well. An article that names no intents is judged by similarity alone.
    """
    matches = []
    for hit in hits:
        meta = hit.metadata
        intents, keywords = tuple(meta.get("intents", ())), tuple(meta.get("keywords", ()))
        article = Article(hit.id, meta["title"], meta["body"], intents, keywords)
        similarity = max(0.0, min(1.0, float(hit.score)))
        support = min(1.0, sum(probabilities.get(intent, 0.0) for intent in intents))
        score = (1 - intent_weight) * similarity + intent_weight * support if intents else similarity
        matches.append(Match(article, score, similarity))
    return sorted(matches, key=lambda match: (-match.score, match.article.id))


def best_quote(article: Article, words: str | None) -> str:
    """The sentence of the article that shares most with the customer's words; its first one where none does."""
    sentences = re.split(r"(?<=[.!?。！？])\s+", article.body)
    asked = _content_words(words or "")
    return max(sentences, key=lambda sentence: len(asked & _content_words(sentence)))


def _content_words(text: str) -> set[str]:
    """Words of four letters and more, cut to six: a rough stem that is enough for overlap."""
    return {word[:6] for word in re.findall(r"\w+", text.lower()) if len(word) > 3}
