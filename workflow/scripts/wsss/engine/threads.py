"""A function over very many items in threads, with few of them waiting at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

THREADS = 8  # reading, hashing and decoding release the GIL
WAITING = 1024  # a pool's own map makes an object for every item before the first result


def threaded(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`function(item)` of all items, in their order."""
    items = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(items, WAITING)):
            yield from pool.map(function, some)
