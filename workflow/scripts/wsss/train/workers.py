"""Forked worker processes: of data loaders and of per-image stages."""

import signal

import torch

from wsss.train.signals import die_with_parent


def quiet_worker(worker: int = 0) -> None:
    """Initialise a forked worker: default signals, one thread, no life without the stage it works for."""
    die_with_parent(signal.SIGKILL)
    torch.set_num_threads(1)
