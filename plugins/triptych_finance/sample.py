"""Where the embedded sample lies. It is synthetic: companies, prices, news, pictures and voices are invented."""

from __future__ import annotations

from pathlib import Path

SAMPLE = Path(__file__).resolve().parent / "sample"


def sample_table() -> Path:
    """The labelled items, one a row, in the order in which they arrived."""
    return SAMPLE / "items.csv"


def sample_stream() -> Path:
    """What a replay reads: the same items, some of which come late or as copies."""
    return sample_table()


def sample_prices() -> Path:
    """Daily prices of the companies, from three months before the items to six weeks after."""
    return SAMPLE / "prices.csv"


def sample_gazetteer() -> Path:
    """The companies with symbols, names, sectors and aliases."""
    return SAMPLE / "companies.toml"
