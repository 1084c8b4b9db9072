"""Other people's recommenders, run in a process of their own, for `recommendation.py` (which starts this file).

    python benchmarks/recommendation_peers.py als|sasrec FOLDER [--cpu-minutes 12]

FOLDER holds `events.npz`, which `recommendation.py` writes: histories and held-out items as rows. The peer is tuned on
the validation items alone, then fitted to all that is before the test; it leaves `PEER.npz` with the 20 best unseen
items of every test user, and `PEER.json` with its settings and what it cost. Nothing of Triptych is imported here, so
that the peer's environment needs only the peer: `implicit` 0.7 for als, `recbole` 1.2 for sasrec.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 20  # of the lists
RATE, BATCH, PATIENCE = 0.001, 512, 5  # of SASRec; events a step; epochs without a better validation at the end
FEW, DRAWN = 5_000, 1_000  # of more items than this, so many are drawn for each step of SASRec, evenly, for its softmax
SEARCH = 0.5  # share of the CPU minutes for finding the number of epochs; the rest is for training again
SEED = 0
Ranker = Callable[[np.ndarray], np.ndarray]  # users to scores [users, items] of a model


class Events:
    """What the driver wrote: `train_*` and `before_*` events in order, `dev_*` and `test_*` users and their items."""

    def __init__(self, file: Path) -> None:
        self.data = dict(np.load(file))
        self.users, self.items = int(self.data["users"]), int(self.data["items"])

    def matrix(self, part: str) -> Any:
        """Sparse ones [users, items]."""
        from scipy.sparse import csr_matrix

        user, item = self.data[f"{part}_user"], self.data[f"{part}_item"]
        found = csr_matrix((np.ones(len(user), np.float32), (user, item)), (self.users, self.items))
        found.sum_duplicates()
        found.data[:] = 1
        return found

    def sequences(self, part: str) -> list[np.ndarray]:
        """The items of each user, the oldest first."""
        user, item = self.data[f"{part}_user"], self.data[f"{part}_item"]
        return np.split(item, np.searchsorted(user, np.arange(1, self.users)))

    def lists(self, held: str, seen: str, scores: Ranker) -> np.ndarray:
        """The best unseen items [held users, LENGTH] of each held-out user."""
        matrix, users = self.matrix(seen), np.unique(self.data[f"{held}_user"])
        found = []
        for start in range(0, len(users), 256):
            own = users[start : start + 256]
            values = np.array(scores(own), dtype=np.float32)
            rows, columns = matrix[own].nonzero()
            values[rows, columns] = -np.inf
            best = np.argpartition(-values, LENGTH, axis=1)[:, :LENGTH]
            order = np.argsort(-np.take_along_axis(values, best, axis=1), axis=1, kind="stable")
            found.append(np.take_along_axis(best, order, axis=1))
        return np.concatenate(found).astype(np.int32)

    def ndcg(self, held: str, lists: np.ndarray) -> float:
        """NDCG@10 of lists, binary gains, over the best possible for each user."""
        user, item = self.data[f"{held}_user"], self.data[f"{held}_item"]
        wanted: dict[int, set[int]] = {}
        for one, chosen in zip(user.tolist(), item.tolist(), strict=True):
            wanted.setdefault(one, set()).add(chosen)
        gains = 1 / np.log2(np.arange(2, 12))
        values = [
            sum(gains[place] for place, row in enumerate(own[:10].tolist()) if row in wanted[one])
            / gains[: len(wanted[one])].sum()
            for one, own in zip(sorted(wanted), lists, strict=True)
        ]
        return float(np.mean(values))


def als(events: Events, minutes: float) -> tuple[np.ndarray, dict[str, Any]]:
    """Implicit ALS (Hu, Koren and Volinsky 2008): one setting after the other, the best value of each stays."""
    from implicit.als import AlternatingLeastSquares

    def fitted(part: str, settings: dict[str, Any]) -> Ranker:
        model = AlternatingLeastSquares(
            factors=settings["factors"], regularization=settings["regularization"], alpha=settings["alpha"],
            iterations=settings["iterations"], random_state=SEED, num_threads=1,
        )  # fmt: skip
        model.fit(events.matrix(part), show_progress=False)
        return lambda users: model.user_factors[users] @ model.item_factors.T

    chosen: dict[str, Any] = {"factors": 64, "regularization": 0.1, "alpha": 10.0, "iterations": 15}
    grid = {
        "alpha": (1.0, 5.0, 40.0), "regularization": (0.01, 1.0, 10.0, 50.0), "factors": (16, 32, 128, 256),
        "iterations": (30,), "alpha ": (2.0, 20.0),
    }  # fmt: skip
    started = time.process_time()
    best, tried = events.ndcg("dev", events.lists("dev", "train", fitted("train", chosen))), 1
    for name, values in grid.items():
        base = dict(chosen)
        for value in values:
            if time.process_time() - started > 60 * minutes:
                break
            settings = base | {name.strip(): value}
            found = events.ndcg("dev", events.lists("dev", "train", fitted("train", settings)))
            print(settings, f"{found:.4f}", flush=True)
            tried += 1
            if found > best:
                best, chosen = found, settings
    lists = events.lists("test", "before", fitted("before", chosen))
    return lists, {"settings": chosen, "validation": best, "tried": tried, "version": f"implicit {version('implicit')}"}


def sasrec(events: Events, minutes: float) -> tuple[np.ndarray, dict[str, Any]]:
    """RecBole's SASRec (Kang and McAuley 2018) with cross entropy over all items, or of many over some that are drawn.

    The network is RecBole's. The loop around it is here: RecBole's own makes a row of every prefix of a history and
    looks at its last place alone, which takes many times as long; here every place of a history is a lesson, as in the
    paper. The best number of epochs on the validation is trained again with its items.
    """
    _old_names()
    import torch
    from recbole.config import Config
    from recbole.model.sequential_recommender.sasrec import SASRec

    torch.set_num_threads(1)
    longest, dropout = int(events.data["longest"]), float(events.data["dropout"])
    config = Config(model="SASRec", dataset="events", config_dict={
        "data_path": ".", "MAX_ITEM_LIST_LENGTH": longest, "loss_type": "CE", "train_neg_sample_args": None,
        "hidden_size": 64, "inner_size": 256, "n_layers": 2, "n_heads": 2, "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout, "use_gpu": False, "seed": SEED, "reproducibility": True, "state": "WARNING",
    })  # fmt: skip

    def new() -> Any:
        torch.manual_seed(SEED)
        return SASRec(config, _Sizes(events.items))

    def padded(sequences: list[np.ndarray]) -> tuple[Any, Any]:
        width = max(1, min(longest, max(map(len, sequences))))
        rows = np.zeros((len(sequences), width), dtype=np.int64)
        for row, own in zip(rows, sequences, strict=True):
            own = own[-longest:] + 1
            row[: len(own)] = own
        return torch.from_numpy(rows), torch.tensor([max(1, min(len(own), longest)) for own in sequences])

    def epoch(model: Any, optimizer: Any, part: str, number: int) -> None:
        windows = [
            own[max(0, end - longest - 1) : end]
            for own in events.sequences(part)
            for end in range(len(own), 1, -longest)
        ]
        rng = np.random.default_rng((SEED, number))
        order = rng.permutation(len(windows))
        order = order[np.argsort([len(windows[place]) for place in order], kind="stable")]  # little padding in a batch
        sizes = np.cumsum([len(windows[place]) for place in order])
        batches = np.split(order, np.flatnonzero(np.diff(sizes // BATCH)) + 1)
        model.train()
        last, model.gather_indexes = model.gather_indexes, lambda output, _: output  # every place, not only the last
        for place in rng.permutation(len(batches)):
            own = [windows[one] for one in batches[place]]
            rows, lengths = padded([one[:-1] for one in own])
            targets, _ = padded([one[1:] for one in own])
            found, wanted = model.forward(rows, lengths)[rows > 0], targets[rows > 0]
            weights = model.item_embedding.weight
            if events.items > FEW:
                drawn = torch.from_numpy(np.unique(rng.integers(1, events.items + 1, DRAWN)))
                others = (found @ weights[drawn].T).masked_fill(wanted[:, None] == drawn, -torch.inf)
                right = (found * weights[wanted]).sum(dim=1, keepdim=True)
                loss = torch.nn.functional.cross_entropy(
                    torch.cat([right, others], dim=1), torch.zeros(len(wanted), dtype=torch.long)
                )
            else:
                loss = torch.nn.functional.cross_entropy(found @ weights.T, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.gather_indexes = last

    def ranker(model: Any, part: str) -> Ranker:
        histories = events.sequences(part)

        def scores(users: np.ndarray) -> np.ndarray:
            model.eval()
            rows, lengths = padded([histories[user] for user in users])
            with torch.no_grad():
                found = model.full_sort_predict({model.ITEM_SEQ: rows, model.ITEM_SEQ_LEN: lengths})
            return found[:, 1:].numpy()

        return scores

    started, best, epochs, done = time.process_time(), -1.0, 0, 0
    model = new()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    while done < epochs + PATIENCE and time.process_time() - started < 60 * minutes * SEARCH:
        done += 1
        epoch(model, optimizer, "train", done)
        found = events.ndcg("dev", events.lists("dev", "train", ranker(model, "train")))
        print(f"epoch {done}: {found:.4f}, {(time.process_time() - started) / 60:.1f} CPU minutes", flush=True)
        if found > best:
            best, epochs = found, done
    model = new()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for number in range(1, epochs + 1):
        epoch(model, optimizer, "before", number)
    settings = {
        "learning_rate": RATE, "batch": BATCH, "epochs": epochs, "longest": longest, "dropout": dropout, "hidden": 64,
        "layers": 2, "heads": 2, "softmax over": DRAWN if events.items > FEW else "all",
    }  # fmt: skip
    stopped = "no better validation" if done >= epochs + PATIENCE else "the cap on CPU minutes"
    report = {"settings": settings, "validation": best, "tried": done, "stopped by": stopped}
    lists = events.lists("test", "before", ranker(model, "before"))
    return lists, report | {"version": f"recbole {version('recbole')}"}


class _Sizes:
    """The little that RecBole's SASRec asks of a data set: how many items there are, the empty one included."""

    def __init__(self, items: int) -> None:
        self.items = items + 1

    def num(self, _: str) -> int:
        return self.items


def _old_names() -> None:
    """NumPy 2 dropped names that RecBole 1.2 still uses."""
    for name, now in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_), ("bool8", np.bool_)):
        if not hasattr(np, name):
            setattr(np, name, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["als", "sasrec"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu-minutes", type=float, default=12)
    given = parser.parse_args()
    started = time.process_time()
    events = Events(given.folder / "events.npz")
    lists, found = {"als": als, "sasrec": sasrec}[given.peer](events, given.cpu_minutes)
    np.savez(given.folder / f"{given.peer}.npz", lists=lists)
    found["cpu_minutes"] = (time.process_time() - started) / 60
    (given.folder / f"{given.peer}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
