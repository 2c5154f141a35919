"""Device and precision: a free GPU where there is one, else the CPU with a fixed number of threads."""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from wsss.engine.task import Task
from wsss.errors import UserError

# What CAMs and all that feeds a walk are computed in, whatever compute.precision says: they are cut at a threshold, or
# multiplied hundreds of times (docs/performance.md has what bf16 moves).
EXACT = "fp32"

_leases: list[Any] = []  # open lock files, held for the life of the process


def pick_device(wanted: str, threads: int, rank: int = 0, world: int = 1) -> torch.device:
    """The device to work on; also fixes the number of CPU threads (results depend on it bit by bit).

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda``.
        rank, world: number of this process among those that train together, each on a GPU of its own.

    Raises:
        UserError: ``cuda`` is asked for and there is none, or there are fewer than `world`.
    """
    torch.set_num_threads(threads)
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("config: device: cuda is asked for, but PyTorch sees no GPU; set device: auto, or mend the driver")
    torch.backends.cudnn.benchmark = False
    # What stays float32 beside bf16 does so because rounding would show (PCM, prototypes, the CRF): no TF32 there.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", _lease_gpu() if world == 1 else _gpu_of(rank, world))


def note_device(task: Task, device: torch.device, precision: str | None = None) -> None:
    """Put the device into the run record, and what rounding depends on into the task's fingerprint."""
    dtype = autocast_dtype(device, precision or task.params["compute"]["precision"]) or torch.float32
    task.record.facts["device"] = str(device)
    task.arithmetic = {"device": device.type, "dtype": str(dtype)}


def _lease_gpu() -> int:
    """Index, among the visible GPUs, of one no other job of this user holds; SLURM decides for itself.

    The only one that is seen is leased too: other jobs may see more.
    """
    return 0 if "SLURM_JOB_ID" in os.environ else _free_gpu() or 0


def _gpu_of(rank: int, world: int) -> int:
    """The same for one of several processes, which must not share one."""
    count = torch.cuda.device_count()
    index = None if count < world else rank if "SLURM_JOB_ID" in os.environ else _free_gpu()
    if index is None:
        raise UserError(
            f"config: compute.gpus: a training is to use {world} GPUs, but of the {count} that PyTorch sees too few are "
            "free; lower it, or give --resources gpu=N the number of your GPUs"
        )
    return index


def _free_gpu() -> int | None:
    """Lease the first of the visible GPUs that no other job of this user holds; None where there is none."""
    folder = Path(tempfile.gettempdir()) / f"wsss-gpu-leases-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for index in range(torch.cuda.device_count()):
        handle = open(folder / f"{_name_of_gpu(index)}.lock", "w")  # noqa: SIM115 - kept open as long as the process lives
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _leases.append(handle)
            return index
        handle.close()
    return None


def _name_of_gpu(index: int) -> str:
    """The same for every job, whichever GPUs it sees; the index where PyTorch does not tell."""
    return str(getattr(torch.cuda.get_device_properties(index), "uuid", index))


def one_gpu_for_a_program() -> dict[str, str]:
    """Environment of a program that is to see one GPU, which no other job of this user holds; empty where PyTorch sees none, or SLURM chooses."""
    if torch.cuda.device_count() == 0 or "SLURM_JOB_ID" in os.environ:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    index = _lease_gpu()
    return {"CUDA_VISIBLE_DEVICES": visible[index] if index < len(visible) and visible[index] else str(index)}


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """The autocast context of `precision`, of `autocast_dtype`."""
    dtype = autocast_dtype(device, precision)
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def autocast_dtype(device: torch.device, precision: str) -> torch.dtype | None:
    """The reduced type to compute in, or None for float32; ``auto`` is bf16 where that is faster."""
    if precision == "auto":
        faster = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_has_amx()
        precision = "bf16" if faster else "fp32"
    if device.type == "cpu" and precision == "fp16":
        raise UserError("config: precision: fp16 needs a GPU; set precision: auto")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _cpu_has_amx() -> bool:
    """Whether the CPU has a unit for products of bf16 matrices (Intel's AMX); without one bf16 is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # older PyTorch does not tell: float32
        return False
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
