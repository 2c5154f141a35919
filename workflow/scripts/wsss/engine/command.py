"""How a command that people type ends: in its own words, and with an exit status."""

import io
import os
import sys
from collections.abc import Callable

from wsss.engine.explain import plain_words
from wsss.errors import UserError

INTERRUPTED = 130  # as a shell has it


def ended(action: Callable[[], None], name: str = "") -> int:
    """Do it; 0 where all is well, 1 with plain words on stderr where the user can mend it.

    Args:
        name: what the words begin with.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # none where it is closed
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may have letters that the terminal has not
    try:
        action()
        if sys.stdout:
            sys.stdout.flush()
    except (UserError, PermissionError) as error:
        print(f"{name}{plain_words(error) or error}", file=sys.stderr)  # an error may name no file
        return 1
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"{name}stopped", file=sys.stderr)
        return INTERRUPTED
    return 0
