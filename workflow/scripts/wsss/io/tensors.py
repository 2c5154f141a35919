"""What no tensor of a trained network holds, wherever its file comes from."""

import torch
from torch import Tensor

from wsss.engine.explain import for_people


def tensor_fault(key: str, value: Tensor) -> str | None:
    """What is wrong with a tensor that is to become float32, in words; None where nothing is.

    Counters (``num_batches_tracked``) may hold any number: nothing here reads them.
    """
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        return for_people("is no plain tensor")
    if value.is_complex():
        return for_people("holds complex numbers")
    if key.endswith("num_batches_tracked"):
        return None
    if not value.is_floating_point():
        return for_people(f"holds integers ({str(value.dtype).removeprefix('torch.')})")
    single = value.float()
    if not torch.isfinite(single).all():
        return for_people("not finite (as float32)")
    if key.endswith("running_var") and (single < 0).any():
        return for_people("holds negative variances")
    if value.ndim > 1 and value.numel() and not single.any():
        return for_people("holds nothing but zeros")
    return None
