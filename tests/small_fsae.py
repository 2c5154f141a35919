"""FSAE around small methods, for tests."""

import torch
from small_methods import SCRATCH, build, make_batch
from wsss.methods import METHODS
from wsss.wrappers.fsae import FSAE

NO_LOGITS = {"mctformer_v1"}  # attention maps alone: its pixel_logits refuses, and so does the wrapper
BASES = sorted(set(METHODS) - NO_LOGITS)
EASY = {"tau_c": 0.3, "tau_r": 0.25}  # so that a network with random weights is sure of something


def around(name, options=None, net=None, **wrap):
    """(wrapper in training mode, a batch)."""
    fsae = FSAE(build(name, options={**SCRATCH, **(net or {})}), {**EASY, **(options or {}), **wrap}).train()
    return fsae, make_batch(fsae)


def losses_of(fsae, batch, step=0):
    torch.manual_seed(4)
    return fsae.loss(batch, fsae(batch, fsae.loss_want), step)


def gradients(network, losses):
    network.zero_grad(set_to_none=True)
    losses["total"].backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
