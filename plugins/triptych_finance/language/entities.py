"""The companies that a text may name, and where it names them."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from triptych.data.tables import format_of, read_table
from triptych.errors import DataError, UnknownNameError

COLUMNS = ("symbol", "name", "sector", "aliases")
# words in capitals that are rarely meant as the symbol that they may also be: those count with a mark alone, as $AI
_CAPITAL_WORDS = (
    "AI AM AN AND ARE AS AT BE BID BIG BUY CAN CEO CFO COO CPI DAY DNA ECB EPS ESG ETF EU EUR FED FOR FX GBP GDP GO HAS"
    " HE HR IF II III IN INC IPO IS IT ITS IV LLC LOW LTD NAV NEW NO NOT NOW NYSE OF OK ON ONE OR OUT PC PE PLC PM PR"
    " RD REAL RUN SEC SEE SO TECH TO TV TWO UK UP US USA USD VS WE WELL YEN YTD"
)
_COMMON = frozenset(_CAPITAL_WORDS.split())
_EXCHANGES = (
    "NYSE|NASDAQ|NASDAQGS|NYSEARCA|AMEX|OTC|OTCMKTS|LSE|LON|AIM|TSX|TSE|TYO|HKEX|HKG|SSE|SZSE|ASX|NSE|BSE|XETRA|FRA|ETR"
    "|EPA|AMS|BRU|LIS|MIL|BIT|BME|SWX|SIX|STO|OMX|CPH|HEL|OSL|WSE|JSE|SGX|KRX"
)
_WORD = re.compile(r"[\w\u0300-\u036f]+|&|\+")
_SYMBOL = re.compile(r"([A-Za-z0-9]{1,12})(?:[.\-][A-Za-z0-9]{1,3})?(?!\w)")
_MARK = re.compile(rf"(?P<dollar>\$)$|(?P<bracket>\()(?:(?:{_EXCHANGES})\s?:\s?)?$|\b(?:{_EXCHANGES})\s?:\s?$")
_MARK_REACH = 16
"""Characters before a symbol that may mark it as one."""


@dataclass(frozen=True, slots=True)
class Company:
    """What is known of one company."""

    symbol: str
    name: str
    sector: str  # "" where the file does not say


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where a text names a company; `alias` are the words that stand there."""

    symbol: str
    start: int
    end: int
    alias: str


class Gazetteer:
    """Companies by symbol, found in texts by their symbols, names and aliases; made by `read` or of `companies`.

    `aliases` maps further names to symbols. Raises `DataError` for a name that two companies share or that is no word.
    """

    def __init__(self, companies: Iterable[Company], aliases: Iterable[tuple[str, str]] = ()) -> None:
        self._companies: dict[str, Company] = {}
        self._symbols: dict[str, str] = {}  # in capitals, to the symbol as it is written
        self._heads: set[str] = set()  # of symbols, the first words
        self._names: dict[str, list[tuple[tuple[str, ...], str]]] = {}  # first word to names, longest first
        owners: dict[tuple[str, ...], str] = {}
        for company in companies:
            if company.symbol.upper() in self._symbols:
                raise DataError(f"the symbol {company.symbol!r} is given twice")
            self._companies[company.symbol] = company
            self._symbols[company.symbol.upper()] = company.symbol
            self._heads.update(_words(company.symbol)[:1])
        named = [(company.name, company.symbol) for company in self._companies.values()]
        for name, symbol in [*named, *aliases]:
            if name == symbol:
                continue  # symbols have rules of their own
            words = _words(name)
            if len("".join(words)) < 2:
                raise DataError(f"{name!r}, a name of {symbol}, is too short to be found in texts; leave it out")
            owner = owners.setdefault(words, symbol)
            if owner != symbol:
                raise DataError(f"{name!r} names both {owner} and {symbol}; leave it to one of them, or to neither")
        for words, symbol in sorted(owners.items(), key=lambda item: -len(item[0])):
            self._names.setdefault(words[0], []).append((words, symbol))

    @classmethod
    def read(cls, path: str | Path | None) -> Self:
        """From a TOML file of `[[company]]` tables or a table (CSV, TSV, JSONL, Parquet); None: the sample's companies.

        The keys are `symbol`, and maybe `name`, `sector` and `aliases`, a list or separated by `|`. Raises `DataError`
        naming the file and, where there is one, the row.
        """
        if path is None:
            from triptych_finance.sample import sample_gazetteer

            path = sample_gazetteer()
        path = Path(path).expanduser()
        companies: dict[str, Company] = {}
        aliases: list[tuple[str, str]] = []
        for row, values in _toml_rows(path) if path.suffix.lower() == ".toml" else _table_rows(path):
            company, others = _company(values, path, row)
            if company.symbol in companies:
                raise DataError(f"the symbol {company.symbol!r} is given twice", file=path, row=row)
            companies[company.symbol] = company
            aliases += [(alias, company.symbol) for alias in others]
        if not companies:
            raise DataError("there are no companies in the file", file=path)
        try:
            return cls(companies.values(), aliases)
        except DataError as error:
            raise DataError(error.reason, file=path) from error

    @property
    def symbols(self) -> list[str]:
        """All symbols, in the order of the file."""
        return list(self._companies)

    def known(self, symbol: str) -> str | None:
        """The symbol as the gazetteer writes it, given in any case and maybe with a `$`; None for an unknown one."""
        return self._symbols.get(symbol.strip().removeprefix("$").upper())

    def symbol(self, symbol: str) -> str:
        """As `known`. Raises `UnknownNameError` for an unknown one."""
        known = self.known(symbol)
        if known is None:
            raise UnknownNameError("company", symbol, self.symbols)
        return known

    def name(self, symbol: str) -> str:
        """The name of a company. Raises `UnknownNameError`."""
        return self._companies[self.symbol(symbol)].name

    def sector(self, symbol: str) -> str:
        """The sector of a company, "" where none is known. Raises `UnknownNameError`."""
        return self._companies[self.symbol(symbol)].sector

    def find(self, text: str) -> list[Mention]:
        """Where the text names companies, in its order and without overlap: of names that overlap, the longest.

        Names and aliases are found in any case, as whole words, whatever stops stand between them. A symbol is found
        as $AAA in any case, and in capitals as (AAA), as NYSE: AAA or as a word, unless all of the text is in capitals
        or the word is a common one or a single letter.
        """
        words = [(_folded(match.group()), match.start(), match.end()) for match in _WORD.finditer(text)]
        found = self._named(text, words) + self._marked(text, words)
        if len(found) < 2:
            return found
        found.sort(key=lambda mention: (mention.start, -mention.end))
        apart = found[:1]
        for mention in found[1:]:
            if mention.start >= apart[-1].end:
                apart.append(mention)
        return apart

    def _named(self, text: str, words: Sequence[tuple[str, int, int]]) -> list[Mention]:
        found, behind = [], 0
        for place, (word, start, _) in enumerate(words):
            for name, symbol in self._names.get(word, ()) if place >= behind else ():
                part = words[place : place + len(name)]
                end = part[-1][2]
                if name != tuple(other for other, _, _ in part) or end - start > len("".join(name)) + 3 * len(name):
                    continue  # other words, or too far apart to be one name
                found.append(Mention(symbol, start, end, text[start:end]))
                behind = place + len(name)
                break
        return found

    def _marked(self, text: str, words: Sequence[tuple[str, int, int]]) -> list[Mention]:
        found = []
        for word, start, _ in words:
            match = _SYMBOL.match(text, start) if word in self._heads else None
            if match is None or text[start - 1 : start] == ".":
                continue
            # "BRW.B" may be a symbol, and in "TVNA-led" and "TVNA.L" one may end
            given = match.group() if match.group().upper() in self._symbols else match[1]
            symbol = self._symbols.get(given.upper())
            if symbol is None:
                continue
            mark, end = _MARK.search(text, max(0, start - _MARK_REACH), start), start + len(given)
            if _is_meant(given, mark, text, end):
                start -= mark is not None and mark["dollar"] is not None
                found.append(Mention(symbol, start, end, text[start:end]))
        return found


def _is_meant(given: str, mark: re.Match[str] | None, text: str, end: int) -> bool:
    """Whether what could be a symbol is one: a mark says so, or capitals where they are not the rule."""
    if mark is not None and mark["dollar"]:
        return True
    if given != given.upper():
        return False
    if mark is not None and (not mark["bracket"] or text[end : end + 2].lstrip().startswith(")")):
        return True
    shouting = text.isupper() and sum(map(str.isalpha, text)) > 12
    return len(given) > 1 and given not in _COMMON and not shouting


def _folded(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def _words(name: str) -> tuple[str, ...]:
    return tuple(_folded(word) for word in _WORD.findall(name))


def _toml_rows(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("the file does not exist; check vertical.entities", file=path) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"the companies cannot be read: {error}", file=path) from error
    rows = content.get("company", [])
    if set(content) - {"company"} or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("companies are written as tables [[company]] with symbol, name, sector, aliases", file=path)
    return enumerate(rows, start=1)


def _table_rows(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    kind = format_of(path)
    if kind is None:
        raise DataError("companies come in a .toml, .csv, .tsv, .jsonl or .parquet file", file=path)
    table = read_table(path, kind)
    if "symbol" not in table.columns:
        raise DataError(f"there is no column 'symbol'; found: {', '.join(table.columns)}", file=path)
    for row in table.rows:
        if row.problem is not None:
            raise DataError(row.problem, file=path, row=row.number)
        yield row.number, {key: row.values.get(key) for key in COLUMNS}


def _company(values: Mapping[str, Any], path: Path, row: int) -> tuple[Company, list[str]]:
    """One company and its aliases. Raises `DataError`."""
    unknown = sorted(set(values) - set(COLUMNS))
    if unknown:
        raise DataError(f"unknown key {unknown[0]!r}; a company has {', '.join(COLUMNS)}", file=path, row=row)
    symbol, name, sector = (_text(values, key, path, row) for key in COLUMNS[:3])
    if not re.fullmatch(r"[^\s|\x1f:$]{1,20}", symbol):
        reason = f"'symbol' must be 1 to 20 characters without blanks, '|', ':' and '$', got {symbol!r}"
        raise DataError(reason, file=path, row=row)
    aliases = values.get("aliases") or []
    if isinstance(aliases, str):
        aliases = aliases.split("|")
    if not isinstance(aliases, list | tuple) or not all(isinstance(alias, str) for alias in aliases):
        raise DataError(f"'aliases' must be texts, a list or separated by '|', got {aliases!r}", file=path, row=row)
    return Company(symbol, name or symbol, sector), [alias.strip() for alias in aliases if alias.strip()]


def _text(values: Mapping[str, Any], key: str, path: Path, row: int) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a text, got {value!r}", file=path, row=row)
    return value.strip()
