"""A look at a method's maps before it is trained: what only the stage `cam` would find would cost a training."""

import copy

import torch

from wsss.errors import UserError
from wsss.methods.base import Method, require_maps, require_signs

SIDE = 128  # pixels of the image that `probe_maps` shows


def probe_maps(method: Method) -> None:
    """See what `seed_maps` of a copy gives for one image of noise that lacks the last class, where there are several.

    Raises:
        UserError: it is not of the contract's form, asks for gradients, or has values that no CAM can have.
    """
    network = copy.deepcopy(method).eval()  # whatever it keeps from a pass without gradients stays there
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(next(network.parameters()).device)
    absent = int(network.num_classes > 1)
    y = torch.ones(1, network.num_classes, device=image.device)
    y[:, network.num_classes - absent :] = 0
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            maps = require_maps(network.seed_maps(torch.cat([image, image.flip(-1)]), y), y)
    except RuntimeError as error:
        if "require grad" not in str(error):
            raise
        raise UserError("net: seed_maps asks for gradients, and CAMs are made without; take it from outputs alone (no Grad-CAM)") from error
    if maps.shape[1] == network.num_classes + network.spec.bg_map:
        maps = maps[:, : maps.shape[1] - absent]  # what is not stored may be anything
    if not torch.isfinite(maps).all():
        raise UserError("net: seed_maps gave values that are not finite; look for a division or a logarithm in it")
    require_signs([maps], network.spec)
