"""What one core of this machine can do, and what share of that our costliest stages reach, in one run.

    python benchmarks/limits.py [--repeats 5]

Limits: floating-point operations a second of a matrix product and of a 3x3 convolution, bytes a second of a copy of 256 MB
(memory) and of 4 MB (cache). Shares: CAM inference (two views of a photo of 188x250) and a training step of ResNet-50 (batch 2,
crop 224) against the matrix product; the dense CRF of a photo against the copies: bytes are its tables and values, each
counted once for each time it is read or written. Processor seconds, best of the repeats.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from cam_inference import network  # noqa: E402
from ir_labels import load  # noqa: E402
from wsss.nets.fused import ready_to_infer  # noqa: E402
from wsss.refine.crf import IRN_LABEL, label_energy  # noqa: E402
from wsss.refine.crf_lattice import kernel_of_places  # noqa: E402
from wsss.refine.lattice.mean_field import mean_field, normalised  # noqa: E402
from wsss.refine.lattice.table import build  # noqa: E402

CPU = torch.device("cpu")


def best_of(repeats: int, function: Callable) -> float:
    """Processor seconds; a first call that warms up does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def flops(function: Callable) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def matrix_rate(repeats: int) -> float:
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    return 2 * 1024**3 / best_of(repeats, lambda: a @ b)


def convolution_rate(repeats: int) -> float:
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.rand(1, 256, 56, 56).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return 2 * 56 * 56 * 256 * 256 * 9 / best_of(repeats, lambda: layer(images))


def copy_rate(megabytes: int, repeats: int) -> float:
    """Bytes read and written a second."""
    source = np.ones(megabytes << 17)
    target, times = np.empty_like(source), max(1, 64 // megabytes)

    def copies() -> None:
        for _ in range(times):
            np.copyto(target, source)

    return 2 * source.nbytes * times / best_of(repeats, copies)


def cam_rate(repeats: int) -> float:
    method = network("resnet50", CPU)
    views, y = torch.rand(2, 3, 188, 250), torch.ones(1, 20)
    with torch.inference_mode():
        work = flops(lambda: method.seed_maps(views, y))
        fast, views = ready_to_infer(method, CPU), views.contiguous(memory_format=torch.channels_last)
        return work / best_of(repeats, lambda: fast.seed_maps(views, y))


def training_rate(repeats: int) -> float:
    method = network("resnet50", CPU).train()
    images, y = torch.rand(2, 3, 224, 224), torch.ones(2, 20)

    def step() -> None:
        logits = method({"image": images}, frozenset({"logits"})).logits
        torch.nn.functional.binary_cross_entropy_with_logits(logits, y).backward()

    return flops(step) / best_of(repeats, step)


def crf_rate(repeats: int) -> float:
    """Bytes a second of the mean field with two problems of two labels."""
    image, cam, _ = load(1, 1)[0]
    kernels = kernel_of_places(*image.shape[:2], 3, 3), normalised(build(image, 50, 5), 10)
    energies = [label_energy((cam[0] > cut).astype(int), 2, 0.7) for cut in (0.3, 0.05)]
    tables = sum(2 * (k.vertex.nbytes + k.weight.nbytes) + k.neighbour.nbytes for k in kernels)  # splat and slice; blur
    values = sum(8 * (2 * k.vertex.size + k.vertex.size + 4 * k.neighbour.size // 2) for k in kernels)  # two columns of 4 bytes
    work = IRN_LABEL.iterations * (tables + values)
    return work / best_of(repeats, lambda: mean_field(kernels, energies, IRN_LABEL.iterations))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    matrix, convolution = matrix_rate(repeats), convolution_rate(repeats)
    memory, cache = copy_rate(256, repeats), copy_rate(4, repeats)
    print(f"one core: matrix product {matrix / 1e9:.0f} GFLOP/s, convolution {convolution / 1e9:.0f} GFLOP/s, copies {memory / 1e9:.1f} GB/s in memory, {cache / 1e9:.1f} GB/s in cache")
    for name, rate in (("CAM inference", cam_rate(repeats)), ("training step", training_rate(repeats))):
        print(f"{name}: {rate / 1e9:.0f} GFLOP/s, {100 * rate / matrix:.0f} % of the matrix product, {100 * rate / convolution:.0f} % of the convolution")
    rate = crf_rate(repeats)
    print(f"mean field of the CRF: {rate / 1e9:.1f} GB/s, {100 * rate / memory:.0f} % of copies in memory, {100 * rate / cache:.0f} % of those in cache")


if __name__ == "__main__":
    main()
