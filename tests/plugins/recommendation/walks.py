"""Events made up by chance, with something to learn in them: groups of items, and an order in which they follow."""

from __future__ import annotations

import numpy as np

from triptych_recommendation.data.interactions import Interactions

DAY = 86_400_000_000


def walks(
    users: int = 150, items: int = 60, groups: int = 4, length: int = 12, *, seed: int = 0, follow: float = 0.5
) -> Interactions:
    """Each user walks through one group of items; with the chance `follow` the next item is the next row.

    The last item of each group is never chosen, so that there are items without events.
    """
    rng = np.random.default_rng(seed)
    size = items // groups
    user, item, time = [], [], []
    for number in range(users):
        group = int(rng.integers(groups))
        place = int(rng.integers(size - 1))
        for step in range(int(rng.integers(length // 2, length + 1))):
            if rng.random() < 0.1:
                chosen = int(rng.integers(size - 1)) + size * int(rng.integers(groups))
            else:
                place = (place + 1 if rng.random() < follow else int(rng.integers(size - 1))) % (size - 1)
                chosen = group * size + place
            user.append(number)
            item.append(chosen)
            time.append(number * 1_000 + step * DAY)
    names = [f"item {row}" for row in range(items)]
    return Interactions.of_rows([f"user {row}" for row in range(users)], names, user, item, time)
