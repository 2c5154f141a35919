"""SIGTERM (pre-emption, time limit), Ctrl-C: what has checkpoints saves; an orphan ends with its parent.

Without torch, because every stage starts here.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

MASTER = "WSSS_SNAKEMAKE_PID"  # in the environment of a stage: the Snakemake that started it, set by rules/common.smk
_stop = False
_follows = False  # this process is not the first of those that train together
_alone = False  # it follows, and the first does not hear of its end yet


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


def end_on_interrupt() -> None:
    """Ctrl-C reaches all processes of a run: this one ends as on SIGTERM, its children wait."""
    first = os.getpid()

    def pass_on(signum: int, frame: Any) -> None:
        if os.getpid() == first:
            os.kill(first, signal.SIGTERM)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell starts what runs in the background
        signal.signal(signal.SIGINT, pass_on)


def follow() -> None:
    """This process was forked to train together with its parent, which writes and speaks for all."""
    global _follows, _alone
    _follows = _alone = True
    die_with_parent(signal.SIGKILL)


def note_connected() -> None:
    """The processes are joined: from now on each notices when another one ends."""
    global _alone
    _alone = False


def let_first_speak() -> None:
    """Called with an error in hand: the first of several processes says it, if it is its own too, and ends the others."""
    if _follows:
        time.sleep(1)


def end_who_waits() -> None:
    """Called after an error has been said: a first process that would wait for this one until it loses patience ends."""
    if _alone:
        os.kill(os.getppid(), signal.SIGTERM)


def orphaned() -> bool:
    """Whether the Snakemake of this stage has gone: it may have died before `die_with_parent` was called."""
    master = os.environ.get(MASTER)
    if master is None or os.getppid() == int(master):
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(int(master), 0)
        except ProcessLookupError:
            return True
    return False


def _on_sigterm(signum: int, frame: Any) -> None:
    global _stop
    _stop = True
