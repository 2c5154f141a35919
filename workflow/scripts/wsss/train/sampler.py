"""Data order as a function of (seed, step): stateless, so that resume needs no sampler state."""

import functools
from collections.abc import Iterator

import numpy as np


class StepSampler:
    """Batch sampler yielding, for steps `start` to `stop`, lists of (index, sample seed).

    Each epoch is one seeded permutation, incomplete batches dropped; a set smaller than a batch is
    repeated to fill it. With `world` processes each takes every world-th slot of the same batch, so
    that N processes see together what one process with the whole batch sees.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            yield self.batch(step)[self.rank :: self.world]

    def batch(self, step: int) -> list[tuple[int, int]]:
        """The whole batch of one step."""
        epoch, slot = divmod(step, steps_per_epoch(self.length, self.batch_size))
        order = epoch_order(self.seed, epoch, self.length, self.batch_size)
        indices = order[slot * self.batch_size : (slot + 1) * self.batch_size]
        seeds = np.random.default_rng([self.seed, step, 1]).integers(0, 2**62, len(indices))
        return [(int(i), int(s)) for i, s in zip(indices, seeds, strict=True)]


@functools.lru_cache(maxsize=1)  # of 82,081 images it takes as long as reading one
def epoch_order(seed: int, epoch: int, length: int, batch_size: int) -> np.ndarray:
    """The permutation of one pass, repeated where it is shorter than a batch."""
    order = np.random.default_rng([seed, epoch]).permutation(length)
    return np.resize(order, max(length, batch_size))


def steps_per_epoch(length: int, batch_size: int) -> int:
    """Complete batches in one pass, at least one."""
    return max(1, length // batch_size)
