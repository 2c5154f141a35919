"""Inputs from the future: the clock was put back since they were written, or two nodes of a cluster disagree.

Snakemake calls a job failed whose outputs are older than its inputs, and deletes them, be it a network of three days.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from wsss.errors import UserError

log = logging.getLogger(__name__)
OURS = ("results", "resources", "imports")
PATIENCE_S = 60  # a little is only a server's clock, and over when the stage ends


def correct_future_times(inputs: Iterable[str]) -> None:
    """Give inputs of this workflow the present time where they are from the future.

    That reruns nothing: Snakemake compares content where times disagree.

    Raises:
        UserError: a user's own file is from the future; said before any work is done.
    """
    now = time.time_ns()
    for path in inputs:
        ahead = 0.0
        with contextlib.suppress(OSError):  # whoever reads it says what is wrong
            ahead = (os.stat(path).st_mtime_ns - now) / 1e9
        if ahead > 0 and Path(path).parts[0] in OURS:
            log.warning("%s: written %.0f s in the future, the clock was put back; it gets the present time", path, ahead)
            with contextlib.suppress(OSError):  # another user's, in a shared folder: Snakemake may complain, we need not
                os.utime(path, ns=(now, now))
        elif ahead > PATIENCE_S:
            raise UserError(f"{path}: its time is {ahead:.0f} s in the future; put the clock right, or run: touch {path!r}")
