"""A look at a method's maps before it is trained: what only the stage `cam` would find would cost a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wsss.errors import UserError
from wsss.methods.base import Method, require_maps

SIDE = 128  # pixels of the image that `probe_maps` shows


@contextmanager
def left_as_it_was(method: Method) -> Iterator[None]:
    """For a pass that leaves no trace: in eval mode, without gradient; running statistics and the generator's state stay."""
    training = method.training
    method.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        method.train(training)


def probe_maps(method: Method) -> None:
    """See what `seed_maps` gives for one image of noise that has all classes.

    Raises:
        UserError: it is not of the contract's form, needs gradients, or is not finite.
    """
    device = next(method.parameters()).device
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    y = torch.ones(1, method.num_classes, device=device)
    with left_as_it_was(method), torch.inference_mode():
        maps = require_maps(method.seed_maps(torch.cat([image, image.flip(-1)]), y), y, method.spec)
    if not torch.isfinite(maps).all():
        raise UserError("net: seed_maps gave values that are not finite for an image of noise; look for a division or a logarithm in it")
