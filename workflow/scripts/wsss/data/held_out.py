"""Which photos are kept out of a training, or stand for all of them: functions of seed and id, whatever the order."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from wsss.data.manifest import Record
from wsss.engine.per_image import Item


def seeded_order(items: Iterable[Item], seed: int) -> list[Item]:
    """`items` in an order that only seed and ids decide."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}:{item.id}".encode()).digest())


def sample(items: Sequence[Item], most: int, seed: int) -> list[Item]:
    """At most `most` of `items`, in their own order."""
    chosen = {item.id for item in seeded_order(items, seed)[:most]}
    return [item for item in items if item.id in chosen]


def hold_out(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """About `share` of the records, in their own order; every class keeps a photo among the others."""
    left = Counter(label for record in records for label in record.labels)
    wanted = round(share * len(records))
    held: set[str] = set()
    for record in seeded_order(records, seed):
        if len(held) < wanted and all(left[label] > 1 for label in record.labels):
            held.add(record.id)
            left.subtract(record.labels)
    return [record for record in records if record.id in held]
