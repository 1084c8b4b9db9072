"""Text as words and pairs of words, each the number of a row of a table: a few microseconds a text, no torch.

A word that the vocabulary lacks (a typo, a name) stands for the rows that its character n-grams are hashed to, as in
Bojanowski et al. 2017 ("Enriching Word Vectors with Subword Information").
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from triptych.encoders.hashing import LONGEST, as_text

PADDING = 0
"""The row of zeros: what fills a batch, and all that a text without words has."""
LONGEST_WORD = 32
"""Characters of an unknown word that are hashed."""
RARE = 2
"""Texts that a unit must be in to have a row of its own."""
SPELLINGS = 50_000
"""Unknown words whose rows are kept at hand."""

# Scripts written without blanks: kana, the ideographs and their extensions. A word for each character.
IDEOGRAPH = re.compile("([\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af])")
# Signs that belong to the letter before them and that \w leaves out: accents, points, the vowels of Indic scripts
_SIGNS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece\u102b-\u103e"
# Words with an apostrophe within, and any other sign on its own (an emoji, a currency), dull punctuation aside
_WORD = re.compile(rf"[\w{_SIGNS}]+(?:'[\w{_SIGNS}]+)*|[^\w\s.,;:'\"()\[\]{{}}_\u200d\ufe0f-]")


def split_words(text: str) -> list[str]:
    """The words of a text in one spelling (NFKC, case folded), with ? ! and symbols as words of their own."""
    if text.isascii():
        return _WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return _WORD.findall(IDEOGRAPH.sub(r" \1 ", text))


def split_units(text: str) -> list[str]:
    """Words, and pairs of neighbours joined by a blank."""
    words = split_words(text)
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def spelling(word: str, buckets: int) -> list[int]:
    """The buckets of a word's character 3- to 5-grams, its ends marked; the same on every machine."""
    marked = f"<{word[:LONGEST_WORD]}>"
    grams = [marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)] or [marked]
    return [zlib.crc32(gram.encode("utf-8", "surrogatepass")) % buckets for gram in grams]


class Vocabulary:
    """Which row a word, a pair of words or a spelling has.

    Rows: padding, then the words, then the pairs, then `buckets` rows for spellings. `pairs` are numbers of words
    (from 0, in the order of `words`).
    """

    def __init__(self, words: Sequence[str], pairs: Sequence[tuple[int, int]], buckets: int) -> None:
        self.words = list(words)
        self.pairs = [(int(a), int(b)) for a, b in pairs]
        self.buckets = buckets
        self.rows = 1 + len(self.words) + len(self.pairs) + buckets
        self._word = {word: row for row, word in enumerate(self.words, start=1)}
        # a pair's key is one integer: quicker to make and to look up than a string or a tuple
        self._base = len(self.words) + 1
        first = 1 + len(self.words)
        self._pair = {(a + 1) * self._base + b + 1: row for row, (a, b) in enumerate(self.pairs, start=first)}
        self._spellings: dict[str, list[int]] = {}

    @classmethod
    def learn(cls, texts: Iterable[Any], *, rows: int, buckets: int) -> Vocabulary:
        """The most frequent words, at most half of `rows`, and pairs in what is left; `RARE` texts have each."""
        word_counts: Counter[str] = Counter()
        pair_counts: Counter[tuple[str, str]] = Counter()
        for text in texts:
            found = split_words(as_text(text)[:LONGEST])
            word_counts.update(set(found))
            pair_counts.update(set(pairwise(found)))
        words = _frequent(word_counts)[: max(1, rows // 2)]
        number = {word: i for i, word in enumerate(words)}
        pairs = [(number[a], number[b]) for a, b in _frequent(pair_counts) if a in number and b in number]
        return cls(words, pairs[: max(0, rows - len(words))], buckets)

    def word(self, word: str) -> int | None:
        """The row of a word, None for an unknown one."""
        return self._word.get(word)

    def pair(self, before: int, row: int) -> int | None:
        """The row of two neighbours, given the rows of both."""
        return self._pair.get(before * self._base + row)

    def spell(self, word: str) -> list[int]:
        """The rows that stand for an unknown word."""
        rows = self._spellings.get(word)
        if rows is None:
            first = self.rows - self.buckets
            rows = [first + bucket for bucket in spelling(word, self.buckets)]
            if len(self._spellings) >= SPELLINGS:  # no better rule is worth its time: rare words seldom come back
                self._spellings.clear()
            self._spellings[word] = rows
        return rows

    def look_up(self, value: Any) -> list[int]:
        """The rows of a text, at least one (padding, for a text without words). Raises `DataError` for no text."""
        words = split_words(as_text(value)[:LONGEST])
        known = list(map(self._word.get, words))
        rows = []
        pair, base, before = self._pair.get, self._base, 0
        for i, row in enumerate(known):
            if row is None:
                rows += self.spell(words[i])
                before = 0
                continue
            rows.append(row)
            both = pair(before * base + row)
            if both is not None:
                rows.append(both)
            before = row
        return rows or [PADDING]


def _frequent(counts: Counter[Any]) -> list[Any]:
    """The most frequent first; equals in the order of their names, so that no run differs from another."""
    return sorted((unit for unit, n in counts.items() if n >= RARE), key=lambda unit: (-counts[unit], unit))
