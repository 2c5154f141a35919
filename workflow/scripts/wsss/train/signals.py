"""SIGTERM (pre-emption, time limit): work with checkpoints saves and stops; an orphan ends with its parent.

Without torch, because every stage starts here.
"""

import contextlib
import ctypes
import signal
import sys
from collections.abc import Iterator
from typing import Any

_stop = False


def stop_requested() -> bool:
    """Whether SIGTERM has arrived inside `graceful_stop`."""
    return _stop


@contextlib.contextmanager
def graceful_stop() -> Iterator[None]:
    """Inside, SIGTERM is noted only, for loops that ask `stop_requested`; outside it ends the process."""
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def die_with_parent(signum: int) -> None:
    """Give SIGTERM its default again, and ask the kernel for `signum` when the parent dies (Linux)."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signum))  # PR_SET_PDEATHSIG


def _on_sigterm(signum: int, frame: Any) -> None:
    global _stop
    _stop = True
