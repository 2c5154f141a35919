import itertools

import pytest
from wsss.train.sampler import StepSampler, steps_per_epoch


def batches(start, stop, *, length=23, size=5, seed=7, **place):
    return list(StepSampler(length, size, seed, start, stop, **place))


def indices(batch):
    return [index for index, _ in batch]


def test_the_order_is_a_function_of_seed_and_step():
    assert batches(0, 12) == batches(0, 12)
    assert [indices(b) for b in batches(0, 12)] != [indices(b) for b in batches(0, 12, seed=8)]
    sampler = StepSampler(23, 5, 7, 0, 12)
    assert list(sampler) == list(sampler) and len(sampler) == 12


@pytest.mark.parametrize("at", range(13))
def test_resume_anywhere_gives_the_same_batches(at):
    assert batches(0, at) + batches(at, 12) == batches(0, 12)


@pytest.mark.parametrize("length, size", [(23, 5), (20, 5), (5, 5), (9, 5)])
def test_an_epoch_takes_no_image_twice_and_drops_the_rest(length, size):
    per_epoch = steps_per_epoch(length, size)
    assert per_epoch == length // size
    for epoch in range(3):
        run = batches(epoch * per_epoch, (epoch + 1) * per_epoch, length=length, size=size)
        seen = [index for batch in run for index in indices(batch)]
        assert all(len(batch) == size for batch in run)
        assert len(seen) == len(set(seen)) == per_epoch * size and set(seen) <= set(range(length))


def test_epochs_differ_and_leave_out_different_images():
    seen = {tuple(indices(b)) for b in batches(0, 4) + batches(4, 8)}
    assert len(seen) == 8
    left_out = [
        set(range(23)) - {i for b in batches(e * 4, e * 4 + 4) for i in indices(b)} for e in range(10)
    ]
    assert len(set(map(frozenset, left_out))) > 5


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_small_set_fills_its_batch(length):
    for batch in batches(0, 6, length=length, size=5):
        counts = [indices(batch).count(i) for i in range(length)]
        assert len(batch) == 5 and max(counts) - min(counts) <= 1


def test_repeats_of_one_image_are_augmented_differently():
    seeds = [seed for batch in batches(0, 50, length=2, size=6) for _, seed in batch]
    assert len(set(seeds)) == len(seeds)
    assert set(seeds).isdisjoint(s for batch in batches(0, 50, length=2, size=6, seed=1) for _, s in batch)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_a_batch(world):
    whole = batches(0, 8)
    shares = [batches(0, 8, rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert sorted(itertools.chain(*parts)) == sorted(batch)
        assert sum(map(len, parts)) == len(batch)
