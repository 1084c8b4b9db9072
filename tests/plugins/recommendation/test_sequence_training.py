"""What the sequence model trains on, its loss, and that NumPy reads what torch trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.models.sequence_batches import MOST_HELD, Corpus, read_tokens
from triptych_recommendation.models.sequence_network import Dropout, Network, SoftmaxLoss
from triptych_recommendation.models.sequence_settings import SequenceSettings
from triptych_recommendation.models.sequence_training import Draw, export, standing

CPU = torch.device("cpu")
SMALL = SequenceSettings(dim=8, layers=2, heads=2, length=6, dropout=0.0)


def corpus_of(histories: list[list[int]], items: int, seed: int = 0) -> Corpus:
    user = np.repeat(np.arange(len(histories)), [len(row) for row in histories])
    names = [str(row) for row in range(items)]
    flat = [item for row in histories for item in row]
    made = Interactions.of_rows([str(row) for row in range(len(histories))], names, user, flat)
    return Corpus.of(made, np.random.default_rng(seed))


def network_of(items: int, vectors: np.ndarray | None = None, options: SequenceSettings = SMALL) -> Network:
    network = Network(items, options, vectors)
    network.initialize(np.random.default_rng(0))
    with torch.no_grad():
        for weight in network.parameters():  # so that biases and norms do something too
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return network


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), min_size=0, max_size=12), min_size=1, max_size=12).filter(any),
    st.integers(2, 9),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_an_epoch_is_every_event_once(histories: list[list[int]], length: int, batch: int, seed: int) -> None:
    corpus = corpus_of(histories, 9)
    all_rows = list(corpus.epoch(length, batch, np.random.default_rng(seed)))
    inputs, targets, starts = (
        np.concatenate([getattr(rows, part) for rows in all_rows]) for part in ("inputs", "targets", "starts")
    )
    assert all(len(rows.inputs) for rows in all_rows)
    width = min(length, len(corpus.tokens))
    assert inputs.shape == targets.shape == starts.shape == (len(corpus.tokens) // width, width)
    left = np.bincount(corpus.tokens, minlength=9) - np.bincount(targets.reshape(-1), minlength=9)
    assert left.min() >= 0
    assert left.sum() == len(corpus.tokens) % width
    runs = {tuple(part) for part in np.split(corpus.tokens, corpus.ends[1:-1])}
    for read, wanted, begin in zip(inputs, targets, starts, strict=True):
        np.testing.assert_array_equal(begin[1:][read[1:] != 9], begin[:-1][read[1:] != 9])
        np.testing.assert_array_equal(
            np.flatnonzero(read == 9), np.unique(begin[np.isin(begin, np.flatnonzero(read == 9))])
        )
        for start in np.unique(begin):
            part = wanted[begin == start]
            np.testing.assert_array_equal(read[begin == start][1:], part[:-1])
            assert any(tuple(part) == run[at : at + len(part)] for run in runs for at in range(len(run)))


def test_the_last_events_of_half_of_the_users_are_held_out() -> None:
    corpus = corpus_of([[0, 1, 2, 2, 3], [4, 5], [6, 7, 8, 0], [1], [2, 3, 4]], 9)
    assert len(corpus.held_items) == 1
    history = corpus.held_histories[0].tolist()
    assert [*history, int(corpus.held_items[0])] in [[0, 1, 2, 3], [6, 7, 8, 0], [2, 3, 4]]
    assert len(corpus.tokens) == 4 + 2 + 4 + 1 + 3 - 1
    many = corpus_of([[0, 1, 2]] * (3 * MOST_HELD), 9)
    assert len(many.held_items) == MOST_HELD
    assert not len(corpus_of([[0, 1], [1, 2]], 9).held_items)


@pytest.mark.parametrize(
    ("history", "tokens"),
    [
        ([], [9]),
        ([3], [9, 3]),
        ([3, 3, 12, 3, 4, -1], [9, 3, 4]),
        ([1, 2, 3], [9, 1, 2, 3]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 2, 3, 4, 5], [2, 3, 4, 5]),
    ],
)
def test_what_is_read_of_a_history(history: list[int], tokens: list[int]) -> None:
    assert read_tokens(np.array(history, dtype=np.int32), 9, 4).tolist() == tokens


@pytest.mark.parametrize("content", [False, True])
def test_numpy_reads_what_torch_trained(content: bool) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(20, 5)).astype(np.float32) if content else None
    network = network_of(20, vectors)
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    reader = export(network, weights, SMALL.heads)
    drop = Dropout(0.0, CPU, rng)
    histories = [rng.integers(0, 20, size).astype(np.int32) for size in (0, 1, 3, 4, 5, 6, 9)]
    ours = reader.guesses(histories)
    logits = reader.table.products(ours)
    with torch.no_grad():
        for history, guess, row in zip(histories, ours, logits, strict=True):
            tokens = torch.from_numpy(read_tokens(history, 20, SMALL.length).astype(np.int64))[None]
            torchs = network(tokens, torch.zeros_like(tokens), drop)[0, -1]
            np.testing.assert_allclose(guess, torchs.numpy(), rtol=1e-4, atol=1e-5)
            wanted = (network.rows(torch.arange(20)) @ torchs).numpy()
            np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-4)


def test_histories_in_one_row_do_not_see_each_other_nor_what_comes_later() -> None:
    network, drop = network_of(20), Dropout(0.0, CPU, np.random.default_rng(0))
    starts = torch.tensor([[0, 0, 2, 2, 2, 2]])
    with torch.no_grad():
        first = network(torch.tensor([[20, 3, 20, 5, 6, 7]]), starts, drop)
        changed = network(torch.tensor([[20, 9, 20, 5, 6, 8]]), starts, drop)
        alone = network(torch.tensor([[20, 5, 6, 7]]), torch.zeros(1, 4, dtype=torch.long), drop)
    torch.testing.assert_close(first[:, 2:5], changed[:, 2:5])
    torch.testing.assert_close(first[:, 2:], alone)
    assert not torch.allclose(first[:, 1], changed[:, 1])
    assert not torch.allclose(first[:, 5], changed[:, 5])


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_and_its_gradients_are_those_of_autograd(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    guess = torch.randn(600, 8, generator=generator, requires_grad=True)
    table = torch.randn(50, 8, generator=generator, requires_grad=True)
    column = torch.randint(0, 50, (600,), generator=generator)
    weight = torch.rand(50, generator=generator) if weighted else None
    ours = SoftmaxLoss.apply(guess, table, weight, column)
    (3 * ours).backward()
    found = guess.grad.clone(), table.grad.clone()
    guess.grad = table.grad = None
    logits = guess @ table.T
    if weight is not None:
        logits = logits + weight * (1 - F.one_hot(column, 50))
    plain = F.cross_entropy(logits, column)
    (3 * plain).backward()
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found[0], guess.grad)
    torch.testing.assert_close(found[1], table.grad)


def test_drawn_items_stand_for_all_items() -> None:
    """The sum over drawn items, each times what it stands for, is on average the sum over all."""
    rng = np.random.default_rng(0)
    popular = rng.zipf(1.3, 4000) % 200
    corpus = corpus_of([popular[start : start + 20].tolist() for start in range(0, 4000, 20)], 200)
    draw = Draw(corpus, SequenceSettings(negatives=30), rng)
    values = rng.lognormal(size=200)
    sums = []
    for _ in range(400):
        rows, weight = draw.candidates(rng.choice(corpus.tokens, 60))
        assert weight is not None
        sums.append((values[rows] * np.exp(weight)).sum())
    spread = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - values.sum()) < 4 * spread
    rows, weight = Draw(corpus, SequenceSettings(negatives=200), rng).candidates(corpus.tokens)
    assert weight is None
    np.testing.assert_array_equal(rows, np.arange(200))


def test_dropout_keeps_the_mean_and_differs_each_time() -> None:
    drop = Dropout(0.25, CPU, np.random.default_rng(0))
    first, second = drop(torch.ones(100, 100)), drop(torch.ones(100, 100))
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(first, second)


def test_standing_is_one_for_a_reader_that_knows_the_answer() -> None:
    corpus = corpus_of([[0, 1, 2]] * 6, 9)
    network = network_of(9)
    reader = export(network, {name: weight.detach() for name, weight in network.named_parameters()}, 2)
    guess = reader.guesses(corpus.held_histories[:1])[0]
    before = standing(reader, corpus)
    reader.table.values[2] = 100 * guess
    assert standing(reader, corpus) == pytest.approx(1)
    reader.table.values[2] = -100 * guess
    assert standing(reader, corpus) == pytest.approx(1 / np.log2(2 + 6))  # last of the 7 that are not of the history
    assert 1 / np.log2(2 + 6) <= before <= 1
