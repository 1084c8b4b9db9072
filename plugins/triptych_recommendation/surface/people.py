"""Who is known, who did what with an item, and what somebody did of late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from triptych_recommendation.catalogue import tables

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.transaction import Transaction
    from triptych_recommendation.data.interactions import Interactions


def names_with(part: str, k: int, known: Sequence[str], tx: Transaction) -> list[str]:
    """At most `k` names of the bundle and of the store with a part in them, in any case; those it begins first."""
    user = tables.event.c.user
    question = select(user).where(user.icontains(part, autoescape=True)).distinct().order_by(user).limit(k)
    stored = list(tx.connection.scalars(question))
    wanted = part.casefold()
    first: list[str] = []
    others: list[str] = []
    for name in known:
        folded = name.casefold()
        if folded.startswith(wanted):
            first.append(name)
            if len(first) == k:
                break
        elif wanted in folded and len(others) < k:
            others.append(name)
    first += [name for name in stored if name.casefold().startswith(wanted)]
    return list(dict.fromkeys([*first, *others, *stored]))[:k]


def people_of(item: str, row: int, past: Interactions, tx: Transaction) -> list[tuple[str, int]]:
    """By kind of event how many different people had to do with an item and its row, most first."""
    by_kind: dict[str, set[str]] = defaultdict(set)
    places = np.flatnonzero(past.item == row)
    for user, kind in zip(past.user[places].tolist(), past.kind[places].tolist(), strict=True):
        by_kind[past.kinds[kind]].add(past.users[user])
    table = tables.event
    for user, kind in tx.connection.execute(select(table.c.user, table.c.kind).where(table.c.item == item)):
        by_kind[kind].add(user)
    return sorted(((kind, len(users)) for kind, users in by_kind.items()), key=lambda pair: (-pair[1], pair[0]))
