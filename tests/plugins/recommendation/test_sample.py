"""The synthetic sample: readable, invented, made anew the same, and with a taste that can be learnt from each side."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from triptych.data.media import load_audio, load_image
from triptych_recommendation.data.folder import RecommendationData, open_folder
from triptych_recommendation.data.settings import DataSettings
from triptych_recommendation.data.splits import Split, leave_one_out
from triptych_recommendation.sample import SAMPLE, sample_folder
from triptych_recommendation.sample.make_sample import STRENGTH, Game, draw_games, main, read_words
from triptych_recommendation.sample.playing import RATE_HZ


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return open_folder(sample_folder(tmp_path_factory.mktemp("unused")), DataSettings(on_error="fail"))


@pytest.fixture(scope="module")
def split(data: RecommendationData) -> Split:
    return leave_one_out(data.interactions)


@pytest.fixture(scope="module")
def games(data: RecommendationData) -> list[Game]:
    """What the generator knows of each item, in the order of rows."""
    known = {game.id: game for game in draw_games(read_words())}
    return [known[item] for item in data.interactions.items]


def test_it_is_small_and_says_that_it_is_synthetic():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 6_000_000
    assert "synthetic" in (SAMPLE / "README.txt").read_text()


def test_there_is_enough_of_everything(data):
    assert len(data.items) == 313
    assert len(data.interactions.users) == 300
    assert 3_000 < len(data.events) < 12_000
    assert set(data.events.kinds) == {"view", "click", "purchase", "rating", "comment"}
    assert data.events.time.max() - data.events.time.min() > 200 * 86_400 * 1_000_000
    assert sum(item.audio is not None for item in data.items) > 150
    assert (data.events.weight == 0).sum() >= 10, "dislikes"


def test_items_have_all_parts_or_some(data):
    parts = Counter((bool(item.text), item.image is not None, item.audio is not None) for item in data.items)
    assert parts[True, True, True] > 150
    assert parts[True, False, False] >= 20
    assert parts[False, True, False] >= 5
    assert all(item.has_content for item in data.items)
    assert 5 <= sum(item.stock == 0 for item in data.items) <= 40
    assert len({item.title for item in data.items if item.title}) == sum(bool(item.title) for item in data.items)


def test_some_items_are_new(data, games):
    acted_on = set(data.events.items)
    new = [item.id for item in data.items if item.id not in acted_on]
    assert 24 <= len(new) <= 40
    assert new[-24:] == [game.id for game in games[-24:]]


def test_some_items_are_known_to_many(data):
    counts = np.sort(np.asarray(data.interactions.matrix().sum(axis=0)).ravel())[::-1]
    assert counts[: len(counts) // 10].sum() > 0.25 * counts.sum()


def test_nobody_acts_on_what_is_not_out_yet(data):
    released = {item.id: item.metadata["released"] for item in data.items}
    for row, time in zip(data.events.item, data.events.time, strict=True):
        assert np.datetime64(released[data.events.items[row]]) <= np.datetime64(int(time), "us")


def test_every_picture_and_sound_can_be_decoded(data):
    for item in data.items:
        if item.image is not None:
            assert load_image(item.image).size == (128, 128)
        if item.audio is not None:
            sound = load_audio(item.audio, RATE_HZ)
            assert 1 < len(sound) / RATE_HZ < 2
            assert np.abs(sound).max() > 0.1
    media = {path for folder in ("pictures", "sounds") for path in (SAMPLE / folder).iterdir()}
    assert media == {path for item in data.items for path in (item.image, item.audio) if path is not None}


@pytest.mark.slow
def test_it_is_made_anew_the_same(tmp_path):
    main(tmp_path)
    for name in ("events.csv", "items.csv"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()
    for made in sorted((tmp_path / "pictures").iterdir()):
        # the decoder may differ by a step where the encoder is of another version
        difference = np.asarray(load_image(made), int) - np.asarray(load_image(SAMPLE / "pictures" / made.name), int)
        assert np.abs(difference).mean() < 2
    for made in sorted((tmp_path / "sounds").iterdir()):
        one, other = load_audio(made, RATE_HZ), load_audio(SAMPLE / "sounds" / made.name, RATE_HZ)
        assert len(one) == len(other)
        assert np.corrcoef(one, other)[0, 1] > 0.95


def test_neighbours_clearly_beat_popularity(split):
    known = split.before_test.matrix().toarray()
    together = known.T @ known
    norms = np.sqrt(np.diag(together))
    alike = together / (np.outer(norms, norms) + 10)
    np.fill_diagonal(alike, 0)
    popular = np.tile(known.sum(axis=0), (len(known), 1))
    assert ndcg(known @ alike, split) > 2 * ndcg(popular, split)
    assert ndcg(popular, split) > 0.03, "popularity is worth something too"


def test_what_comes_next_tells_more_than_what_came_together(split, games):
    goes_on = 0
    for user, targets in zip(split.test.users, split.test.targets, strict=True):
        before = games[targets[0]].before
        goes_on += before is games[split.before_test.history(user).items[-1]]
    assert goes_on > 0.08 * len(split.test), "of a series, the next part often follows at once"


def ndcg(scores: np.ndarray, split: Split) -> float:
    """NDCG@10 of the test, among the items that are new to the user."""
    seen = split.before_test.matrix().toarray() > 0
    scores = np.where(seen, -np.inf, scores)[split.test.users]
    targets = np.array([items[0] for items in split.test.targets])
    ranks = (scores > scores[np.arange(len(targets)), targets][:, None]).sum(axis=1)
    return float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())


@pytest.mark.parametrize("trait", list(STRENGTH))
def test_each_trait_tells_which_cold_items_are_liked(data, games, trait):
    values = sorted({getattr(game, trait) for game in games})
    known = np.array([[getattr(game, trait) == value for value in values] for game in games], dtype=float)
    chosen = data.interactions.matrix().toarray()
    cold = np.random.default_rng(0).random(len(games)) < 0.2
    cold &= chosen.sum(axis=0) > 0
    warm = chosen * ~cold
    taste = (warm - warm.mean(axis=0)) @ known
    found, by_chance = [], []
    for user in range(len(chosen)):
        liked = np.flatnonzero(cold & (chosen[user] > 0))
        if len(liked):
            scores = np.where(
                cold, (taste @ known.T)[user] + 1e-6 * np.random.default_rng(user).random(len(games)), -9e9
            )
            best = np.argsort(-scores)[:10]
            found.append(len(np.intersect1d(best, liked)) / len(liked))
            by_chance.append(10 / cold.sum())
    assert np.mean(found) > 1.3 * np.mean(by_chance)


def test_a_picture_tells_the_style_and_a_sound_the_mood(data, games):
    truth = {game.id: game for game in games}
    pictures = {item.id: item.image for item in data.items if item.image is not None}
    sounds = {item.id: item.audio for item in data.items if item.audio is not None}
    seen = {key: np.asarray(load_image(path).resize((4, 4)), dtype=float).ravel() for key, path in pictures.items()}
    heard = {key: spectrum(path) for key, path in sounds.items()}
    assert accuracy(seen, {key: truth[key].style for key in seen}) > 0.9
    assert accuracy(heard, {key: truth[key].mood for key in heard}) > 0.9
    settings = {key: truth[key].setting for key in seen}
    assert accuracy(seen, settings) < 0.35, "a picture does not tell the setting"
    assert accuracy(heard, {key: truth[key].style for key in heard}) < 0.4, "a sound does not tell the style"


def spectrum(path: Path) -> np.ndarray:
    """Loudness of a sound in twenty bands, in decibels."""
    power = np.abs(np.fft.rfft(load_audio(path, RATE_HZ))) ** 2
    return np.array([10 * np.log10(band.mean() + 1e-9) for band in np.array_split(power, 20)])


def accuracy(vectors: dict[str, np.ndarray], labels: dict[str, str]) -> float:
    """How often the nearest mean of the even ones is right for the odd ones."""
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    keys = sorted(vectors)
    for key in keys[::2]:
        groups[labels[key]].append(vectors[key])
    means = {label: np.mean(rows, axis=0) for label, rows in groups.items()}
    guesses = [min(means, key=lambda label: float(np.sum((means[label] - vectors[key]) ** 2))) for key in keys[1::2]]
    return float(np.mean([guess == labels[key] for guess, key in zip(guesses, keys[1::2], strict=True)]))
