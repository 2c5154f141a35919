"""What benchmarks share: their last line, and a process of its own for what is measured."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def report_ratio(plain_s: float, ours_s: float) -> None:
    """Print `ratio: 212.4 (plain 225 s, ours 1.06 s)`; two decimals below 10."""
    ratio = plain_s / ours_s
    print(f"ratio: {ratio:.{2 if ratio < 10 else 1}f} (plain {plain_s:.3g} s, ours {ours_s:.3g} s)")


def measured(function: Callable, *arguments: Any) -> tuple[Any, float, float]:
    """(result, CPU seconds, MB it took at most beyond the libraries) of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(function: Callable, arguments: tuple) -> tuple[Any, float, float]:
    before, start = memory_mb("VmRSS"), time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start, memory_mb("VmHWM") - before


def memory_mb(which: str) -> float:
    return int(Path("/proc/self/status").read_text().split(f"{which}:")[1].split()[0]) / 1024
