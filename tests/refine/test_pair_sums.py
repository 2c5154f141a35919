"""Pair losses direction by direction against those over all pairs at once."""

import pytest
import torch
from wsss.refine.affinity import pair_affinity
from wsss.refine.pair_sums import boundary_losses
from wsss.refine.pairs import pair_losses, pair_types
from wsss.refine.paths import path_index


@pytest.mark.parametrize("radius", [2, 5])
@pytest.mark.parametrize("kind", ["total", "positive_bg", "positive_fg", "negative"])
def test_each_loss_and_its_gradient(radius, kind):
    generator = torch.Generator().manual_seed(radius)
    index = path_index(radius)
    labels = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)[torch.randint(0, 4, (2, 14, 17), generator=generator)]
    # Multiples of 1/8: ties, of which the first cell takes the gradient.
    values = torch.randint(0, 9, (2, 14, 17), generator=generator) / 8
    at_once, streamed = values.clone().requires_grad_(), values.clone().requires_grad_()
    expected = pair_losses(pair_affinity(at_once, index), *pair_types(labels, index))
    found = boundary_losses(streamed, labels, index)
    assert found.keys() == expected.keys()
    expected[kind].backward()
    found[kind].backward()
    torch.testing.assert_close(found[kind], expected[kind])
    torch.testing.assert_close(streamed.grad, at_once.grad)


def test_no_pair_at_all_is_a_loss_of_nothing():
    boundary = torch.full((1, 12, 14), 0.5, requires_grad=True)
    losses = boundary_losses(boundary, torch.full((1, 12, 14), 255, dtype=torch.uint8), path_index(3))
    losses["total"].backward()
    assert losses["total"] == 0 and not boundary.grad.any()
