"""Mistakes of a user's end Snakemake in one line of their own, without its traceback."""

from collections.abc import Callable, Iterable
from typing import Any

import snakemake.rules
from snakemake.exceptions import WorkflowError

from wsss.errors import UserError
from wsss.recipes.schema import read_yaml

NO_TRACEBACK: Any = property(lambda error: None, lambda error, found: None)  # whatever contextlib puts there on the way


class Mistake(WorkflowError):
    """A mistake of the user's. Ends Snakemake in its own words: where in the rules it came up helps nobody."""

    __traceback__ = NO_TRACEBACK  # Snakemake prints what it finds here


Mistake.__name__ = "WorkflowError"


def plainly(function: Callable, *args: Any) -> Any:
    """function(*args); a UserError ends Snakemake with its own words instead of a traceback."""
    try:
        return function(*args)
    except UserError as error:
        raise Mistake(str(error)) from None


def tell_mistakes_plainly() -> None:
    """Input and params functions, too, end in one line: Snakemake puts rule, wildcards and traceback around theirs."""
    wrapped = snakemake.rules.InputFunctionException
    if hasattr(wrapped, "in_own_words"):
        return

    class Wrapped(wrapped):  # type: ignore[misc, valid-type]  # whichever class Snakemake has
        in_own_words = True

        def __init__(self, msg: Any, *args: Any, **more: Any) -> None:
            if isinstance(msg, UserError | Mistake):
                WorkflowError.__init__(self, str(msg))
                self.__class__ = Plain
            else:
                super().__init__(msg, *args, **more)

    class Plain(Wrapped):
        __traceback__ = NO_TRACEBACK

    Wrapped.__name__, Plain.__name__ = wrapped.__name__, "WorkflowError"
    snakemake.rules.InputFunctionException = Wrapped


def check_config_files(paths: Iterable[str]) -> None:
    """Read config files as they stand, before Snakemake does: it takes the last of two equal keys, 010 for 8, and ends
    in a traceback where a file is no UTF-8 or holds itself."""
    for path in paths:
        plainly(read_yaml, path)
