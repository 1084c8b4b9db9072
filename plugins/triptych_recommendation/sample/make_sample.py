"""Writes the synthetic sample anew: events.csv, items.csv, pictures/ and sounds/. Run by hand.

    python -m triptych_recommendation.sample.make_sample

Seeded: the tables and pictures come out the same byte for byte. Each game has a setting that only its words tell, a
style that only its cover shows, a mood that only its tune lets hear, and a genre; each person likes some of each.
"""

from __future__ import annotations

import csv
import math
import random
import shutil
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from triptych_recommendation.sample.drawing import STYLES, draw
from triptych_recommendation.sample.playing import MOODS, RATE_HZ, play

HERE = Path(__file__).resolve().parent
SEED = 0
USERS, SERIES, SINGLES, NEW = 300, 56, 140, 24
FIRST, LAST = datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 9, 1, tzinfo=UTC)
NUMERALS = ("", " II", " III", " IV")
ITEM_COLUMNS = (
    "id", "title", "description", "image", "audio", "category", "price", "stock", "tags", "released"
)  # fmt: skip
EVENT_COLUMNS = ("user", "item", "type", "time", "value")
STRENGTH = {"setting": 1.5, "style": 1.2, "mood": 0.9, "genre": 1.0}  # of a taste, in the log-odds of a choice
SEQUEL = 0.5  # chance that somebody goes on to the next part of a series
FOCUS = 1.2  # how much more a session keeps to one setting and genre


@dataclass
class Game:
    """An invented game with what is told of it nowhere but in words, cover and tune."""

    id: str
    title: str
    description: str
    setting: str
    style: str
    mood: str
    genre: str
    price: float
    released: datetime
    appeal: float  # to everybody, in log-odds
    before: Game | None = None  # the part of the series that this one follows
    tags: list[str] = field(default_factory=list)
    stock: int = 0
    told: bool = True  # has words
    shown: bool = True  # has a cover
    heard: bool = False  # has a tune


def read_words() -> dict[str, Any]:
    """The vocabulary."""
    return tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))


def draw_games(words: dict[str, Any]) -> list[Game]:
    """All games: series first, then single ones, then those that nobody has seen yet."""
    rng = random.Random(f"{SEED}-games")
    names = [opening + ending for opening in words["openings"] for ending in words["endings"]]
    rng.shuffle(names)
    games: list[Game] = []
    for number in range(SERIES + SINGLES + NEW):
        before = None
        parts = rng.choices((2, 3, 4), (5, 4, 2))[0] if number < SERIES else 1
        traits = _traits(rng, words)
        for part in range(parts):
            game = _game(rng, words, f"g{len(games) + 1:03d}", names[number], part, traits, before)
            if number >= SERIES + SINGLES:
                game.released = LAST - timedelta(days=rng.randint(1, 6))
            games.append(game)
            before = game
    for n, game in enumerate(games):
        game.heard = rng.random() < 0.62
        if n % 11 == 5:
            game.shown = game.heard = False
        elif n % 40 == 20:
            game.told = game.heard = False
    return games


def _traits(rng: random.Random, words: dict[str, Any]) -> dict[str, str]:
    return {
        "setting": rng.choice(sorted(words["settings"])), "style": rng.choice(STYLES),
        "mood": rng.choice(MOODS), "genre": rng.choice(sorted(words["genres"])),
    }  # fmt: skip


def _game(
    rng: random.Random, words: dict[str, Any], key: str, name: str, part: int, traits: dict[str, str],
    before: Game | None,
) -> Game:  # fmt: skip
    setting, genre = words["settings"][traits["setting"]], words["genres"][traits["genre"]]
    noun = rng.choice(setting["nouns"])
    sentences = [rng.choice(setting["sentences"]), rng.choice(genre["sentences"]), rng.choice(words["fillers"])]
    sentences = [_filled(rng, sentence, setting["nouns"]) for sentence in sentences]
    if before is not None:
        sentences.append(rng.choice(words["follows"]).format(before=before.title))
    released = FIRST - timedelta(days=rng.randint(0, 400))
    if before is not None:
        released = before.released + timedelta(days=rng.randint(60, 140))
    return Game(
        key,
        f"{name}{NUMERALS[part]}: the {noun}",
        " ".join(sentences),
        setting=traits["setting"],
        style=traits["style"],
        mood=traits["mood"],
        genre=traits["genre"],
        price=round(genre["price"] * rng.uniform(0.7, 1.4)) - 0.05,
        released=min(released, LAST - timedelta(days=30)),
        appeal=rng.gauss(0, 1.1),
        before=before,
        tags=[rng.choice(setting["tags"]), *rng.sample(words["tags"], 2)],
        stock=0 if rng.random() < 0.06 else rng.randint(1, 80),
    )


def _filled(rng: random.Random, sentence: str, nouns: list[str]) -> str:
    while "{noun}" in sentence:
        sentence = sentence.replace("{noun}", rng.choice(nouns), 1)
    return sentence


class Person:
    """Somebody invented, with a taste for every trait and for none of the names."""

    def __init__(self, name: str, games: list[Game], rng: random.Random) -> None:
        self.name, self.games, self.rng = name, games, rng
        self.liking = np.array([game.appeal for game in games])
        for trait, strength in STRENGTH.items():
            values = [getattr(game, trait) for game in games]
            taste = {value: rng.gauss(0, 1) for value in sorted(set(values))}
            self.liking += strength * np.array([taste[value] for value in values])
        self.had: set[int] = set()
        self.events: list[tuple[datetime, str, str, str]] = []  # time, item, type, value

    def live(self) -> None:
        """Some sessions between a first and a last day; a few people only look in once."""
        rng = self.rng
        wanted = rng.randint(1, 2) if rng.random() < 0.06 else max(3, min(60, round(rng.lognormvariate(2.6, 0.6))))
        joined = FIRST + timedelta(days=rng.uniform(0, 150))
        while len(self.had) < wanted:
            moment = joined + (LAST - timedelta(days=7) - joined) * rng.random()
            moment = moment.replace(hour=rng.choice((7, 12, 17, 18, 19, 20, 21, 22)), minute=rng.randrange(60))
            self._session(moment, min(wanted - len(self.had), rng.randint(1, 5)))

    def _session(self, moment: datetime, count: int) -> None:
        focus: Game | None = None
        last: int | None = None
        for _ in range(count):
            choice = self._next_part(last, moment)
            if choice is None:
                choice = self._choose(moment, focus)
            focus = focus or self.games[choice]
            self.had.add(choice)
            moment = self._meet(choice, moment) + timedelta(seconds=self.rng.randint(20, 400))
            last = choice

    def _next_part(self, last: int | None, moment: datetime) -> int | None:
        if last is None or self.rng.random() > SEQUEL:
            return None
        follows = [n for n, game in enumerate(self.games) if game.before is self.games[last]]
        return next((n for n in follows if n not in self.had and self.games[n].released < moment), None)

    def _choose(self, moment: datetime, focus: Game | None) -> int:
        odds = self.liking.copy()
        for n, game in enumerate(self.games):
            if n in self.had or game.released >= moment:
                odds[n] = -math.inf
            elif focus is not None:
                odds[n] += FOCUS * (game.setting == focus.setting) + 0.5 * FOCUS * (game.genre == focus.genre)
        chances = np.exp(odds - odds.max())
        return self.rng.choices(range(len(odds)), chances.tolist())[0]

    def _meet(self, choice: int, moment: datetime) -> datetime:
        """What comes of one game: a look, and for the better liked ones a click, a purchase and a rating."""
        rng, game = self.rng, self.games[choice]
        warmth = (self.liking[choice] - float(np.mean(self.liking))) / float(np.std(self.liking))
        chain = [("view", "")]
        if rng.random() < 0.5:
            chain.append(("click", ""))
            if rng.random() < 1 / (1 + math.exp(1.0 - warmth)):
                chain.append(("purchase", ""))
                if rng.random() < 0.45:
                    chain.append(("rating", str(min(5, max(1, round(3.1 + 0.8 * warmth + rng.gauss(0, 0.9)))))))
                elif rng.random() < 0.2:
                    chain.append(("comment", ""))
        for kind, value in chain:
            self.events.append((moment, game.id, kind, value))
            moment += timedelta(seconds=rng.randint(5, 240))
        return moment


def write_items(games: list[Game], directory: Path) -> None:
    """The catalogue with its pictures and sounds."""
    for folder in ("pictures", "sounds"):
        shutil.rmtree(directory / folder, ignore_errors=True)
        (directory / folder).mkdir()
    with (directory / "items.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(ITEM_COLUMNS)
        for game in games:
            rng = random.Random(f"{SEED}-{game.id}")
            image = audio = ""
            if game.shown:
                image = f"pictures/{game.id}.jpg"
                draw(game.style, rng).save(directory / image, quality=72, optimize=True)
            if game.heard:
                audio = f"sounds/{game.id}.ogg"
                tune: NDArray[np.float32] = play(game.mood, rng)
                soundfile.write(directory / audio, tune, RATE_HZ, format="OGG", subtype="OPUS", compression_level=0.95)
            told = (game.title, game.description) if game.told else ("", "")
            kind, tags = (game.genre, "|".join(game.tags)) if game.told else ("", "")
            price, day = f"{game.price:.2f}", f"{game.released:%Y-%m-%d}"
            table.writerow((game.id, *told, image, audio, kind, price, game.stock, tags, day))


def write_events(games: list[Game], directory: Path) -> None:
    """What the people did, in the order of time."""
    events = []
    seen = [game for game in games if game.released < LAST - timedelta(days=7)]
    for number in range(USERS):
        person = Person(f"u{number + 1:03d}", seen, random.Random(f"{SEED}-person-{number}"))
        person.live()
        events += [(moment, person.name, *rest) for moment, *rest in person.events]
    with (directory / "events.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(EVENT_COLUMNS)
        for moment, user, item, kind, value in sorted(events):
            table.writerow((user, item, kind, f"{moment:%Y-%m-%dT%H:%M:%SZ}", value))


def main(directory: Path = HERE) -> None:
    """Write everything anew."""
    games = draw_games(read_words())
    write_items(games, directory)
    write_events(games, directory)


if __name__ == "__main__":
    main()
