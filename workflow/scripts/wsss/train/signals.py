"""SIGTERM (pre-emption, time limit) asks to save and stop; an orphan ends with its parent."""

import ctypes
import signal
import sys
from typing import Any

import torch

_stop = False


def stop_requested() -> bool:
    """Whether SIGTERM has arrived."""
    return _stop


def install() -> None:
    """Note SIGTERM, and ask the kernel for one when the parent (Snakemake) dies (Linux)."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    die_with_parent(signal.SIGTERM)  # no orphan races its successor


def die_with_parent(signum: int) -> None:
    """Ask the kernel to send this process `signum` when its parent dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signum))  # PR_SET_PDEATHSIG


def _on_sigterm(signum: int, frame: Any) -> None:
    global _stop
    _stop = True


def quiet_worker(worker: int = 0) -> None:
    """Initialise a forked worker process: default signals, one thread, no life without the stage it works for."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL)
    torch.set_num_threads(1)
