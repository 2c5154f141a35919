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
    """About `share` of the records, in their own order, and of each class no more than that: a class of two photos keeps both."""
    counts = Counter(label for record in records for label in record.labels)
    may_go = Counter({label: round(share * count) for label, count in counts.items()})
    wanted = round(share * len(records))
    held: set[str] = set()
    for record in seeded_order(records, seed):
        if len(held) < wanted and all(may_go[label] > 0 for label in record.labels):
            held.add(record.id)
            may_go.subtract(record.labels)
    return [record for record in records if record.id in held]
