"""Errors that a user can mend, in plain words; and the mark of words that are for people only."""

import errno
import re

from wsss.errors import UserError

_MENDS = {
    r"OutOfMemoryError|CUDA out of memory": "the GPU's memory is used up; lower the stage's batch_size or crop, "
    "or set runtime.device: cpu",
    r"MemoryError|can't allocate memory|Insufficient memory|bad_alloc": "memory is used up; lower the stage's batch_size, use fewer cores "
    "(--cores), or give the job more memory (--set-resources)",
    r"DataLoader worker .*(exited unexpectedly|killed by signal)": "a process that reads images was killed, mostly "
    "for want of (shared) memory; lower runtime.workers or the stage's batch_size, or give the job more memory",
    r"gloo|NCCL": "another of the processes that train together has ended; where it "
    "has not said why, it was killed, mostly for want of memory; lower the stage's batch_size, or give the job more memory",
    r"BrokenProcessPool": "a worker process was killed, mostly for want of memory; use fewer cores (--cores), "
    "or give the job more memory (--set-resources)",
}


_DRIVE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV}
_DRIVE_MEND = "see that it is mounted and whole, then run the same command again (finished work is kept)"


def plain_words(error: Exception) -> str | None:
    """What is wrong and how to mend it, or None for an error that only its traceback explains."""
    if isinstance(error, UserError):
        # From a data loader's worker it comes with that process's traceback inside.
        return str(error).rpartition("UserError: ")[2].strip()
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: no permission; change its mode or owner"
    if isinstance(error, OSError) and error.errno in _DRIVE:
        return f"{error.filename or 'a drive'}: {error.strerror}; the drive does not answer as it should: {_DRIVE_MEND}"
    name_and_text = f"{type(error).__name__}: {error}"
    mends = [mend for pattern, mend in _MENDS.items() if re.search(pattern, name_and_text)]
    return f"{mends[0]} ({name_and_text.splitlines()[0]})" if mends else None


def for_people(text: str) -> str:
    """`text` itself, marked as words of a message: no code digest covers the strings given to it (`wsss.plan.code_digest`)."""
    return text
