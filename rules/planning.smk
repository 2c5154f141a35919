# How rules are told what they ask, and how thousands of jobs are planned in seconds.

import functools
import gc
import inspect
import sys

sys.path.insert(0, f"{workflow.basedir}/workflow/scripts")

import snakemake.common
import snakemake.dag
import snakemake.rules
from snakemake.exceptions import WorkflowError

from wsss.errors import UserError

COUNTING = {"shard", "shards"}  # wildcards that no answer depends on


class Mistake(WorkflowError):
    """Ends Snakemake in its own words alone: where in the rules a mistake in the configuration came up helps nobody."""

    plain = True
    __traceback__ = None  # Snakemake prints what it finds here


Mistake.__name__ = "WorkflowError"


def plainly(function):
    """Let a UserError, or a WorkflowError of the rules, end Snakemake with its own words instead of a traceback."""

    @functools.wraps(function)
    def guarded(*args):
        try:
            return function(*args)
        except (UserError, WorkflowError) as error:
            raise Mistake(str(error)) from None

    return guarded


def asked(function):
    """What rules ask of their wildcards, found once: all shards of a stage, and what reads them, ask alike.

    A UserError ends Snakemake as with `plainly`. Callers must not change what they are given.
    """
    known = {}
    guarded = plainly(function)

    @functools.wraps(function)
    def answer(w, *args):
        key = (*[item for item in w.items() if item[0] not in COUNTING], *args)
        if key not in known:
            known[key] = guarded(w, *args)
        return known[key]

    answer.__signature__ = inspect.signature(function)
    return answer


def collect_rarely():
    """What planning makes lives until the end: looking through it for garbage again and again took a seventh of the time."""
    gc.set_threshold(200_000, 20, 20)


def remember_parameters():
    """What a function takes, looked up once: Snakemake inspects its signature with every job, and more than once."""
    find = getattr(snakemake.common, "get_function_params", None)
    if find is None or hasattr(find, "__wrapped__"):
        return
    remembered = functools.cache(find)
    for place in (snakemake.common, snakemake.rules):
        if getattr(place, "get_function_params", None) is find:
            place.get_function_params = remembered


def check_scripts_once():
    """One look at a rule's script instead of one for each job: Snakemake reads the file to see that it is there.

    A script whose name holds wildcards is looked at with every job, as ever; so are all where Snakemake has changed.
    """
    processor = getattr(snakemake.dag, "ScriptProcessor", None)
    check = getattr(processor, "process_job", None)
    if check is None or hasattr(check, "__wrapped__"):
        return
    seen = set()

    @functools.wraps(check)
    def process_job(self, job):
        owner = job.rule
        if owner not in seen:
            check(self, job)
            seen.update([] if "{" in str(owner.script) else [owner])

    processor.process_job = process_job


def tell_mistakes_plainly():
    """Input and params functions, too, end in one line: Snakemake puts rule, wildcards and traceback around theirs."""
    wrapped = snakemake.rules.InputFunctionException
    if hasattr(wrapped, "in_own_words"):
        return

    class Wrapped(wrapped):
        in_own_words = True

        def __init__(self, msg, *args, **more):
            if getattr(msg, "plain", False):
                WorkflowError.__init__(self, str(msg))
                self.__class__ = Plain
            else:
                super().__init__(msg, *args, **more)

    class Plain(Wrapped):
        plain = True
        __traceback__ = None

    Wrapped.__name__, Plain.__name__ = wrapped.__name__, "WorkflowError"
    snakemake.rules.InputFunctionException = Wrapped


collect_rarely()
tell_mistakes_plainly()
remember_parameters()
check_scripts_once()
