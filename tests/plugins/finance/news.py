"""News and prices for tests of the back-test and of the commands: fictitious, and made for the purpose."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from triptych_finance.language.entities import Company, Gazetteer
from triptych_finance.settings import Settings
from triptych_finance.volatility.prices import COLUMNS

START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAMES = {"TVNA": "Torvenna", "SKQ": "Skelvoort", "QLMR": "Quellmar"}
COMPANIES = Gazetteer(
    [
        Company("TVNA", "Torvenna", "Industrials"),
        Company("SKQ", "Skelvoort", "Industrials"),
        Company("QLMR", "Quellmar", "Energy"),
    ]
)
CALM = ("names a chairman", "opens a plant", "publishes a calendar", "moves its office", "wins an order")
BAD = ("cuts jobs", "warns of a loss", "loses a lawsuit", "falls on weak profit")
LIVELY: dict[str, Any] = {
    "signal": {"warmup_buckets": 7, "budget_per_week": 0.6, "refractory_hours": 72.0},
    "stream": {"chunk": 50},
}


def lively() -> Settings:
    return Settings.model_validate(LIVELY)


def rows(days: int, bad: dict[str, Sequence[int]], *, seed: int = 0) -> list[dict[str, str]]:
    """Calm news of three companies, and bursts of bad news of some on some days, by time."""
    chance = random.Random(seed)
    found = []
    for day in range(days):
        for symbol, name in NAMES.items():
            burst = day in bad.get(symbol, ())
            for number in range(6 if burst else chance.choice([1, 1, 2])):
                when = START + day * DAY + chance.uniform(0, 24) * HOUR
                what = chance.choice(BAD if burst else CALM)
                tail = " ".join(
                    chance.choice(["today", "abroad", "again", "quietly"]) + str(chance.randrange(10**6))
                    for _ in range(3)
                )
                found.append({"published": when.isoformat(), "text": f"{name} {what}, {tail}", "number": str(number)})
    return sorted(found, key=lambda row: row["published"])


def written(path: Path, found: Sequence[dict[str, str]]) -> Path:
    """The rows as a file of items; the id of each is its place."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["id", "published", "text"])
        table.writeheader()
        for number, row in enumerate(found):
            table.writerow({"id": f"n{number}", "published": row["published"], "text": row["text"]})
    return path


def price_file(path: Path, days: int, jumps: dict[str, Sequence[int]], *, before: int = 120, seed: int = 1) -> Path:
    """Daily prices of the companies on working days from long before the news; a jump of 12 per cent on some days."""
    chance = random.Random(seed)
    lines = [",".join(COLUMNS)]
    for symbol in NAMES:
        close = 100.0
        for number in range(-before, days + 30):
            day: date = (START + number * DAY).date()
            if day.weekday() >= 5:
                continue
            move = 0.12 if number in jumps.get(symbol, ()) else chance.uniform(-0.01, 0.01)
            close *= 1 + move
            lines.append(",".join([symbol, str(day), *(f"{close:.4f}" for _ in range(5)), "1000"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
