"""BatchNorm whose statistics can be frozen, alone and together with the ReLU behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from wsss import ranks
from wsss.errors import UserError

# What of BatchNorm is fixed: all of it, the statistics, scale and offset, or nothing.
BN = ("frozen", "statistics", "affine", "train")


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d that uses its running statistics even in training while `frozen` is set.

    Where several processes train together the statistics are those of the batch as a whole, on CPUs too (torch's
    SyncBatchNorm is for GPUs only).
    """

    frozen = False
    # With the defaults of BatchNorm2d none of these is None.
    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.training and ranks.world() > 1:
            return self._together(x)
        return super().forward(x)

    def _together(self, x: Tensor) -> Tensor:
        """x (b, C, h, w), as many images in each process."""
        wide = x.to(self.running_mean.dtype)
        mean = ranks.averaged(wide.mean((0, 2, 3)))
        centred = wide - mean.view(-1, 1, 1)
        var = ranks.averaged(centred.square().mean((0, 2, 3)))
        count = ranks.world() * x.numel() // x.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / max(count - 1, 1)), self.momentum)
        scale = torch.rsqrt(var + self.eps) * self.weight
        return (centred * scale.view(-1, 1, 1) + self.bias.view(-1, 1, 1)).to(x.dtype)


def set_norm(module: nn.Module, bn: str) -> None:
    """Say for every BatchNorm inside `module` what is fixed; one meaning on every trunk.

    bn: "frozen": statistics, scale and offset; "statistics": the running statistics, which are used in training
    too, while scale and offset learn; "affine": scale and offset, while the statistics are the batch's and running
    ones learn; "train": nothing, ordinary BatchNorm. Raises UserError for another word.
    """
    if bn not in BN:
        raise UserError(f"bn: {bn!r} is not known; choose one of {', '.join(BN)}")
    for child in module.modules():
        if isinstance(child, BatchNorm):
            child.frozen = bn in ("frozen", "statistics")
            child.requires_grad_(bn in ("statistics", "train"))


def norm_relu(norm: BatchNorm, x: Tensor) -> Tensor:
    """relu(norm(x)). Where the norm is a constant, only the result is kept for the backward pass, which the
    convolution behind it keeps anyway; the two layers apart would keep x as well."""
    if norm.frozen and not norm.weight.requires_grad:
        return _ConstantNormReLU.apply(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps
        )
    return norm(x).relu_()


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, trained BatchNorms take their batch's statistics but add nothing to the running ones.

    Further views have other statistics than whole images, which alone are seen at test. Frozen ones, the
    published way, do not change anyway.
    """
    norms = [(m, m.momentum) for m in network.modules() if isinstance(m, BatchNorm) and not m.frozen]
    try:
        for norm, _ in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum


class _ConstantNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        out = F.batch_norm(x, mean, var, weight, bias, eps=eps).relu_()
        ctx.save_for_backward(out, weight * torch.rsqrt(var + eps))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        out, scale = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, out, 0)
        return grad.mul_(scale.view(-1, 1, 1)), None, None, None, None, None
