"""Two forked processes on the CPU that train together, joined by gloo."""

import contextlib
import multiprocessing

import torch
from wsss import ranks

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork")


def in_processes(world, function, *arguments):
    """`function(*arguments)` in so many processes that train together; (exit status, what number 0 returned)."""
    receiver, sender = FORK.Pipe(duplex=False)

    def first():
        torch.set_num_threads(1)
        ranks.fork(world)
        ranks.connect(CPU)
        result = function(*arguments)
        ranks.leave()
        sender.send(result)

    process = FORK.Process(target=first)
    process.start()
    sender.close()
    result = None
    with contextlib.suppress(EOFError):
        result = receiver.recv()
    process.join(120)
    return process.exitcode, result
