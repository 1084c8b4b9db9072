"""Writes the synthetic sample anew: items.csv, prices.csv, pictures/ and voices/. Run by hand, imported nowhere.

    python plugins/triptych_finance/sample/make_sample.py

Seeded: the tables come out the same byte for byte. Prices follow a process with calm and stormy spells; news announce
most of the storms, some storms come unannounced, and some news are followed by nothing.
"""

from __future__ import annotations

import csv
import math
import random
import re
import shutil
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from triptych_finance.volatility.charts import render
from triptych_finance.volatility.prices import COLUMNS, Prices

HERE = Path(__file__).resolve().parent
SEED = 0
FIRST_DAY, LAST_DAY = date(2024, 11, 4), date(2025, 12, 12)  # of prices: three months before the items, six weeks after
FIRST_ITEM, LAST_ITEM = date(2025, 2, 3), date(2025, 10, 31)
CLOSED = {date(2024, 12, 25), date(2024, 12, 26), date(2025, 1, 1)}
LABELS = ("negative", "neutral", "positive")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NTH = ("second", "third", "fourth", "fifth", "sixth")
QUARTERS = ("fourth", "first", "second", "third")  # what is reported on in each quarter of a year
OUTLETS = ("wire.example", "ledger.example", "bourse.example")
BACKGROUND, PAIRS, COPIES, LATE, CHART_POSTS, CALLS, VAGUE_CALLS, PICTURES = 250, 48, 76, 32, 30, 44, 18, 84
HEADER = ("id", "text", "image", "audio", "label", "published", "entities", "url", "entity_labels", "group")
CANDLES = 40  # in a picture
RATE_HZ = 8_000


@dataclass(frozen=True)
class Company:
    """An invented company."""

    symbol: str
    name: str
    sector: str
    aliases: tuple[str, ...]
    own: dict[str, Any]  # product, site, boss, customer: what fills the patterns


@dataclass(frozen=True)
class Spell:
    """A stormy spell that begins on trading day `start`; `moves` prices, `told` by the news, or both."""

    company: Company
    start: int
    direction: int
    factor: float
    moves: bool
    told: bool


@dataclass(frozen=True)
class Draft:
    """An item before it has a number."""

    text: str
    label: str
    published: datetime
    truth: tuple[tuple[str, str], ...]
    group: str
    kind: str  # headline, article, post, chart, call, voice
    named: bool = True  # whether the source says which companies it is about


def read_companies(templates: dict[str, Any]) -> list[Company]:
    """The companies with what belongs to them."""
    result = []
    for row in tomllib.loads((HERE / "companies.toml").read_text(encoding="utf-8"))["company"]:
        own = {**templates["company"][row["symbol"]], "customer": templates["customer"][row["sector"]]}
        result.append(Company(row["symbol"], row["name"], row["sector"], tuple(row["aliases"]), own))
    return result


def trading_days() -> list[date]:
    """Monday to Friday without the few days on which the invented exchange is closed."""
    span = range((LAST_DAY - FIRST_DAY).days + 1)
    return [day for day in (FIRST_DAY + timedelta(n) for n in span) if day.weekday() < 5 and day not in CLOSED]


def draw_spells(companies: list[Company], count: int) -> list[Spell]:
    """Stormy spells of every company: three in five announced, one in five not, one in five only talked about."""
    rng, spells = random.Random(f"{SEED}-spells"), []
    for number, company in enumerate(companies):
        start, direction = rng.randint(12, 30), (-1) ** number
        while start < count - 8:
            kind = rng.random()
            moves, told = kind < 0.8, kind < 0.6 or kind >= 0.8
            direction *= rng.choice((-1, -1, 1))  # so that good and bad years come out even
            spells.append(Spell(company, start, direction, rng.uniform(1.6, 3.0), moves, told))
            if moves and told and rng.random() < 0.3:  # a neighbour of the sector is drawn into it
                peer = rng.choice([c for c in companies if c.sector == company.sector and c != company])
                spells.append(Spell(peer, start + 1, direction, rng.uniform(0.7, 1.3), True, False))
            start += rng.randint(19, 36)
    return spells


def write_prices(companies: list[Company], days: list[date], spells: list[Spell]) -> Prices:
    """A random walk per company whose volatility a slow process and the spells raise, and which spells push."""
    market_rng = random.Random(f"{SEED}-market")
    market = [market_rng.gauss(0.0002, 0.004) for _ in days]
    shared = {c.sector: [market_rng.gauss(0, 0.003) for _ in days] for c in companies}
    lines = [",".join(COLUMNS)]
    for company in companies:
        rng = random.Random(f"{SEED}-{company.symbol}")
        base, close, slow = rng.uniform(0.007, 0.012), rng.uniform(14, 160), 0.0
        usual, ex_day = rng.uniform(2e5, 2e6), rng.randint(100, 200)
        payout = rng.choice((0.0, 0.012, 0.02, 0.03))  # of the price; some pay none
        own = [spell for spell in spells if spell.company == company and spell.moves]
        for n, day in enumerate(days):
            slow = 0.95 * slow + rng.gauss(0, 0.06)
            storm = sum(s.factor * 0.86 ** (n - s.start) for s in own if n >= s.start)
            push = sum(s.direction * rng.uniform(0.012, 0.03) for s in own if n == s.start)
            sigma = base * math.exp(slow) * (1 + storm)
            shock = rng.gauss(0, 1) * (1.6 if rng.random() < 0.05 else 1)
            step = 0.8 * market[n] + shared[company.sector][n] + sigma * shock + push
            opened = close * math.exp(rng.gauss(0, 0.3 * sigma))
            close *= math.exp(step - (payout if n == ex_day else 0))
            high = max(opened, close) * math.exp(abs(rng.gauss(0, 0.4 * sigma)))
            low = min(opened, close) * math.exp(-abs(rng.gauss(0, 0.4 * sigma)))
            adjusted = close * math.exp(-payout if n < ex_day else 0)
            volume = usual * math.exp(rng.gauss(0, 0.3) + 0.7 * math.log(sigma / base))
            numbers = ",".join(f"{value:.2f}" for value in (opened, high, low, close, adjusted))
            lines.append(f"{company.symbol},{day},{numbers},{volume:.0f}")
    (HERE / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return Prices.read(HERE / "prices.csv")


class Writer:
    """Fills patterns; each list of patterns is worked through before one comes again."""

    def __init__(self, templates: dict[str, Any], companies: list[Company]) -> None:
        self.templates, self.companies = templates, companies
        self.rng = random.Random(f"{SEED}-items")
        self.decks: dict[str, list[int]] = {}
        self.texts: set[str] = set()  # so far

    def draw(self, key: str) -> tuple[str, str]:
        """A pattern of the list at the dotted `key`, and its name."""
        patterns: Any = self.templates
        for part in key.split("."):
            patterns = patterns[part]
        deck = self.decks.setdefault(key, [])
        if not deck:
            deck.extend(self.rng.sample(range(len(patterns)), len(patterns)))
        number = deck.pop()
        return patterns[number], f"{key}-{number}"

    def fill(self, pattern: str, company: Company, day: date, other: Company | None = None) -> str:
        """The pattern with names and numbers; the numbers are drawn anew for every pattern."""
        rng, low = self.rng, self.rng.uniform(3, 320)
        form = rng.choice(("€{} million", "{} million euros", "EUR {}m"))
        few, percent, quarter = rng.randint(2, 6), round(rng.uniform(1, 12), 1), QUARTERS[(day.month - 1) // 3]
        text = pattern.format(
            c=self.mention(company), o=self.mention(other) if other else "", t=company.symbol,
            product=rng.choice(company.own["product"]), customer=rng.choice(company.own["customer"]),
            site=company.own["site"], boss=company.own["boss"], pc=rng.choice((rng.randint(2, 14), percent)),
            PC=rng.randint(15, 48), lo=form.format(round(low, 1 if low < 40 else None)),
            hi=form.format(round(low * rng.uniform(1.3, 2.9))), few=NUMBERS[few - 1], fewer=NUMBERS[few - 2],
            nth=rng.choice(NTH), weeks=NUMBERS[rng.randint(3, 10) - 1], many=rng.randint(12, 90) * 10,
            day=f"{rng.randint(4, 19)}th", quarter=f"the {quarter} quarter", Q=f"{quarter}-quarter", year=day.year,
        )  # fmt: skip
        return text.replace("s's ", "s' ")

    def mention(self, company: Company) -> str:
        """The name, or more often one of the aliases."""
        return self.rng.choice((company.name, company.aliases[0], *company.aliases))

    def write(
        self, key: str, label: str, kind: str, company: Company, published: datetime, other: Company | None = None
    ) -> Draft:
        """One item from a pattern at `key`; no text comes twice."""
        day, truth = published.date(), [(company.symbol, label)]
        while True:
            pattern, group = self.draw(key)
            partner = other or self.rng.choice([c for c in self.companies if c != company])
            text = self.fill(pattern, company, day, partner)
            text = text if kind in ("post", "chart") else text[0].upper() + text[1:]
            if kind == "article":
                bodies = [f"body.{label}", self.rng.choice(("body.plain", "body.plain", f"body.{label}"))]
                self.rng.shuffle(bodies)
                text = " ".join([f"{text}.", *(self.fill(self.draw(k)[0], company, day) for k in bodies)])
            if text not in self.texts:
                break
        self.texts.add(text)
        if "{o}" in pattern:
            truth.append((partner.symbol, LABELS[2 - LABELS.index(label)]))
        named = self.rng.random() < (0.3 if kind in ("post", "chart") else 0.9)
        return Draft(text, label, published, tuple(truth), group, kind, named)

    def copy(self, draft: Draft) -> Draft:
        """The same news as another outlet prints it, some time later, with small edits."""
        edits, text = self.templates["edits"], draft.text
        while text == draft.text or text in self.texts:
            for old, new in edits["swap"].items():
                if self.rng.random() < 0.5:
                    text = text.replace(old, new)
            if ". " in text and self.rng.random() < 0.3:  # the last sentence is cut
                text = re.sub(r"(?<=[.!?]) [^.]*\.$", "", text)
            if self.rng.random() < 0.4:
                text = self.rng.choice(edits["prefix"]) + text
            elif self.rng.random() < 0.5:
                text += self.rng.choice(edits["suffix"])
        self.texts.add(text)
        return replace(draft, text=text, published=draft.published + timedelta(minutes=self.rng.randint(4, 900)))


def moment(rng: random.Random, day: date) -> datetime:
    """Some time of the day at which news come out."""
    return datetime.combine(day, time(rng.randint(6, 20), rng.randint(0, 59), rng.randint(0, 59)), UTC)


def write_news(writer: Writer, days: list[date], spells: list[Spell]) -> list[Draft]:
    """Headlines, articles and posts: bursts around the spells that are told of, and what comes in between."""
    rng, events, drafts = writer.rng, sorted(writer.templates["event"]), []
    inside = [day for day in days if FIRST_ITEM <= day <= LAST_ITEM]

    def news(company: Company, label: str, day: date, event: str) -> Draft:
        kind = rng.choices(("headline", "article", "post"), (5, 4, 2))[0]
        key = f"post.{label}" if kind == "post" else f"event.{event}.{label}"
        return writer.write(key, label, kind, company, moment(rng, day))

    for spell in spells:
        if not spell.told or not FIRST_ITEM < days[spell.start - 2] <= days[spell.start + 2] <= LAST_ITEM:
            continue
        event = rng.choice(events)
        for _ in range(rng.randint(3, 6)):  # mostly on the day before the storm breaks and on that day
            day = days[spell.start + rng.choices((-2, -1, 0, 1, 2), (1, 4, 3, 2, 1))[0]]
            label = rng.choices(LABELS[:: spell.direction], (1, 3, 16))[0]
            drafts.append(news(spell.company, label, day, event if rng.random() < 0.7 else rng.choice(events)))
    for _ in range(BACKGROUND):
        label = rng.choices(LABELS, (25, 52, 23))[0]
        day = min(LAST_ITEM, rng.choice(inside) + timedelta(2 if rng.random() < 0.05 else 0))
        drafts.append(news(rng.choice(writer.companies), label, day, rng.choice(events)))
    return drafts


def write_others(writer: Writer, days: list[date], prices: Prices) -> list[Draft]:
    """News of two companies, posts of charts, and excerpts of calls."""
    rng, companies, drafts = writer.rng, writer.companies, []
    inside = [day for day in days if FIRST_ITEM <= day <= LAST_ITEM]
    for n in range(PAIRS):
        company, label = rng.choice(companies), LABELS[n % 2 * 2]
        peers = [c for c in companies if c != company and (c.sector == company.sector or n % 6 == 0)]
        published = moment(rng, rng.choice(inside))
        drafts.append(writer.write(f"pairs.{label}", label, "headline", company, published, rng.choice(peers)))
    wanted = [LABELS[n % 3] for n in range(CHART_POSTS)]
    while wanted:
        company, published = rng.choice(companies), moment(rng, rng.choice(inside))
        if shown(prices, company, published) == wanted[-1]:
            drafts.append(writer.write("vague.chart", wanted.pop(), "chart", company, published))
    for n in range(CALLS + VAGUE_CALLS):
        label, company, day = LABELS[(n + n // 12) % 3], companies[n % 12], rng.choice(inside)
        key, kind = (f"call.{label}", "call") if n < CALLS else ("vague.voice", "voice")
        drafts.append(writer.write(key, label, kind, company, moment(rng, day)))
    return drafts


def as_it_arrives(writer: Writer, drafts: list[Draft]) -> list[Draft]:
    """All items and their copies in the order of arrival: that of publication, but for some that come late."""
    rng = writer.rng
    printed = [draft for draft in drafts if draft.kind in ("headline", "article")]
    drafts = drafts + [writer.copy(draft) for draft in rng.sample(printed, COPIES)]
    late = {n: rng.choice((3, 5, 9, 30, 70)) for n in rng.sample(range(len(drafts)), LATE)}  # hours
    order = [(draft.published + timedelta(hours=late.get(n, 0)), n) for n, draft in enumerate(drafts)]
    return [drafts[n] for _, n in sorted(order)]


def shown(prices: Prices, company: Company, published: datetime) -> str | None:
    """What a chart says to a reader by its last fifteen candles; None where that is not plain."""
    closes = prices.window(company.symbol, published, 16).close
    change = closes[-1] / closes[0] - 1
    return "positive" if change > 0.07 else "negative" if change < -0.07 else "neutral" if abs(change) < 0.015 else None


def draw_voice(rng: random.Random, speaker: float, label: str, path: Path) -> None:
    """Syllable-like tones, at most 3 s: mood sets pitch, range, tempo, tremor and pauses. This is not speech."""
    mood = LABELS.index(label) - 1 + rng.gauss(0, 0.5)
    noise = np.random.default_rng(rng.randrange(2**32))
    sound, length = np.zeros(0), int(rng.uniform(2.0, 2.9) * RATE_HZ)
    while len(sound) < length:
        seconds = rng.uniform(0.13, 0.22) * (1 - 0.25 * mood)
        t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
        start, glide = rng.gauss(0, 0.05 + 0.03 * mood), rng.gauss(0.1 * mood, 0.05)
        tremor = max(0.0, 0.01 - 0.02 * mood) * np.sin(2 * np.pi * rng.uniform(5, 8) * t)
        pitch = speaker * np.exp(0.14 * mood + start + glide * t / seconds + tremor)  # Hz
        phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
        vowel = rng.choice(((700, 1200), (400, 2000), (300, 2300), (450, 900), (320, 800)))  # two formants, Hz
        tone = np.zeros_like(t)
        for k in range(1, int(3_400 / pitch.max())):
            near = sum(math.exp(-(((k * speaker - formant) / 180) ** 2)) for formant in vowel)
            tone += (near + 0.08) / k**0.5 * np.sin(k * phase)
        pause = np.zeros(int(RATE_HZ * rng.choice((0.01, 0.02, max(0.02, 0.11 - 0.09 * mood)))))
        sound = np.concatenate([sound, tone * np.hanning(len(t)) ** 0.6, pause])[:length]
    sound = 0.6 * sound / np.abs(sound).max() + noise.normal(0, 0.004, len(sound))
    soundfile.write(path, sound.astype(np.float32), RATE_HZ, format="OGG", subtype="OPUS", compression_level=0.95)


def main() -> None:
    """Write everything anew."""
    templates = tomllib.loads((HERE / "templates.toml").read_text(encoding="utf-8"))
    companies, days = read_companies(templates), trading_days()
    spells = draw_spells(companies, len(days))
    prices, writer = write_prices(companies, days, spells), Writer(templates, companies)
    drafts = as_it_arrives(writer, write_news(writer, days, spells) + write_others(writer, days, prices))
    for folder in ("pictures", "voices"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    rng = random.Random(f"{SEED}-media")
    charts = [n for n, draft in enumerate(drafts) if draft.kind == "chart"]
    others = [n for n, draft in enumerate(drafts) if draft.kind in ("article", "post", "headline")]
    pictured = {*charts, *rng.sample(others, PICTURES - len(charts))}
    with (HERE / "items.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        for n, draft in enumerate(drafts):
            key, symbol, image, audio = f"n{n + 1:04d}", draft.truth[0][0], "", ""
            if n in pictured:
                image = f"pictures/{key}.png"
                chart = Image.fromarray(render(prices.window(symbol, draft.published, CANDLES), (96, 128)))
                chart.quantize(8).save(HERE / image, optimize=True)
            if draft.kind in ("call", "voice"):
                audio = f"voices/{key}.ogg"
                speaker = random.Random(symbol).uniform(95, 200)  # Hz: each company has its own speaker
                draw_voice(rng, speaker, draft.label, HERE / audio)
            entities = "|".join(s for s, _ in draft.truth) if draft.named else ""
            truth = "|".join(f"{s}={label}" for s, label in draft.truth)
            url = f"https://{rng.choice(OUTLETS)}/{draft.published:%Y/%m/%d}/{key}"
            when = f"{draft.published:%Y-%m-%dT%H:%M:%SZ}"
            table.writerow((key, draft.text, image, audio, draft.label, when, entities, url, truth, draft.group))


if __name__ == "__main__":
    main()
