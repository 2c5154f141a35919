"""What one core of this machine can do, and what share of that our costliest stages reach, in one run.

    python benchmarks/limits.py [--repeats 5]

Limits: floating-point operations a second of a matrix product and of a 3x3 convolution, bytes a second of a copy of 256 MB
(memory) and of 4 MB (cache). Shares: CAM inference (two views of a photo of 188x250) and a training step of ResNet-50 (batch 2,
crop 224) against the matrix product; the dense CRF of a photo and IRN's walk against the copies: bytes are their tables and
values, each counted once for each time it is read or written; the saliency map by `feature_cut` against the convolution;
reading a photo, reading and scoring a mask against Pillow's plain decoding of the same files; a CAM at its photo's size
and a step of the sweep against the copies, of what goes in and comes out alone. Processor seconds, best of the repeats; photos of $WSSS_TEST_DATA/voc_mini.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from cam_inference import network  # noqa: E402
from ir_labels import load  # noqa: E402
from random_walk import scene  # noqa: E402
from saliency import ids_of, tree  # noqa: E402
from sweep import CLASSES, FORM, make_images  # noqa: E402
from wsss.io.cams import read_cam  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.nets.backbones import build_backbone  # noqa: E402
from wsss.nets.fetch import fetch  # noqa: E402
from wsss.nets.fused import ready_to_infer  # noqa: E402
from wsss.refine.crf import IRN_LABEL, label_energy  # noqa: E402
from wsss.refine.crf_lattice import kernel_of_places  # noqa: E402
from wsss.refine.lattice.mean_field import mean_field, normalised  # noqa: E402
from wsss.refine.lattice.table import build  # noqa: E402
from wsss.refine.paths import path_index  # noqa: E402
from wsss.refine.random_walk import walk, walk_weights  # noqa: E402
from wsss.saliency import feature_cut  # noqa: E402
from wsss.score.confusion import confusion  # noqa: E402
from wsss.score.shapes import Shapes  # noqa: E402
from wsss.score.sweep import Sweep  # noqa: E402
from wsss.sections.saliency import FEATURE_CUT_BACKBONE  # noqa: E402

CPU = torch.device("cpu")
PHOTOS = 10
SIZE = 375, 500


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


def walk_rate(repeats: int) -> float:
    """Bytes a second of IRN's walk, two classes at 94x125 cells: its products read a diagonal and the map, and add to the result."""
    edge, scores = scene((94, 125), 2)
    diagonals, products = 2 * len(path_index(5).directions) + 1, len(walk_weights(256)) - 1
    return products * diagonals * scores.numel() * 4 * 8 / best_of(repeats, lambda: walk(scores, edge))


def saliency_seconds(photo: np.ndarray, repeats: int) -> tuple[float, float, int]:
    """(seconds of a map, those of its network, floating-point operations of its network and similarities)."""
    local = tree().parents[2] / "weights/resnet18_imagenet_fp16.pth"
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        weights = fetch(FEATURE_CUT_BACKBONE, Path(folder) / "trunk.safetensors", local)
        whole = best_of(repeats, lambda: feature_cut.feature_cut(photo, weights))
        fast, plain = feature_cut.load_network(weights), build_backbone(FEATURE_CUT_BACKBONE).eval()

        def taps(network: torch.nn.Module) -> list:
            return [feature_cut.taps(network, photo, side) for side in (500, 250)]

        third, fourth = taps(fast)[0]
        alike = 2 * third[0].numel() ** 2 * (len(third) + len(fourth))
        return whole, best_of(repeats, lambda: taps(fast)), flops(lambda: taps(plain)) + alike


def photo_seconds(paths: list[Path], repeats: int) -> tuple[float, float]:
    """(plain decoding, `read_image`) of a photo."""

    def plain() -> None:
        for path in paths:
            Image.open(path).load()

    return best_of(repeats, plain) / len(paths), best_of(repeats, lambda: [read_image(path) for path in paths]) / len(paths)


def mask_seconds(pairs: list[tuple[Path, Path]], repeats: int) -> tuple[float, float, float]:
    """(plain decoding of a mask and its ground truth, reading and counting them, that with figures of shapes)."""

    def plain() -> None:
        for path in (path for pair in pairs for path in pair):
            Image.open(path).load()

    def scored(shapes: Shapes | None) -> None:
        for pair in pairs:
            truth, mask = map(read_mask, pair)
            confusion(truth, mask, CLASSES + 1)
            if shapes:
                shapes.add(truth, mask)

    ways = plain, lambda: scored(None), lambda: scored(Shapes(CLASSES + 1))
    return tuple(best_of(repeats, way) / len(pairs) for way in ways)  # type: ignore[return-value]


def cam_seconds(cam_path: Path, mask_path: Path, keys: tuple[int, ...], repeats: int) -> tuple[float, int, float, int]:
    """(seconds of a CAM at its photo's size, the bytes it writes and sums, seconds of adding it to a sweep, the bytes of CAM and truth)."""
    stored, truth = read_cam(cam_path), read_mask(mask_path)
    cam, sweep = FORM.read(stored, SIZE, SIZE), Sweep(CLASSES)
    read = best_of(repeats, lambda: FORM.read(stored, SIZE, SIZE))
    # Each scale is written, and all but the first are read and added to the sum, which is then normed.
    passes = len(stored.maps) + 3 * (len(stored.maps) - 1) + 3
    return read, passes * cam.nbytes, best_of(repeats, lambda: sweep.add(cam, keys, truth)), cam.nbytes + truth.nbytes


def show(name: str, ours: float, limit: float, of: str) -> None:
    print(f"{name}: {1000 * ours:.2f} ms, limit {1000 * limit:.2f} ms ({of}), {100 * limit / ours:.0f} %", flush=True)


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

    rate = walk_rate(repeats)
    print(f"IRN's walk: {rate / 1e9:.1f} GB/s, {100 * rate / memory:.0f} % of copies in memory, {100 * rate / cache:.0f} % of those in cache", flush=True)
    show_files(convolution, cache, repeats)


def show_files(convolution: float, cache: float, repeats: int) -> None:
    """What begins with photos, masks and CAMs on disk."""
    photos = [tree() / f"JPEGImages/{name}.jpg" for name in ids_of(tree(), "train_aug")[::36][:PHOTOS]]
    whole, network_s, work = saliency_seconds(read_image(photos[0]), max(2, repeats // 2))
    show(f"saliency map by feature_cut (its network {1000 * network_s:.0f} ms)", whole, work / convolution, "convolution")
    plain, ours = photo_seconds(photos, repeats)
    show("a photo read", ours, plain, "libjpeg by Pillow")
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), PHOTOS, SIZE)
        given = [tree() / f"SegmentationClass/{name}.png" for name in ids_of(tree(), "val")[:PHOTOS]]
        plain, counted, with_shapes = mask_seconds([(mask, mask) for mask in given], repeats)
        show("a mask and its truth read and counted", counted, plain, "libpng by Pillow")
        show("the same with figures of shapes", with_shapes, plain, "libpng by Pillow")
        read, bytes_read, added, bytes_added = cam_seconds(*images[0], repeats)
    show(f"a CAM of {len(images[0][2])} classes at 375x500", read, bytes_read / cache, "copies in cache")
    show("the same in the sweep", added, bytes_added / cache, "copies in cache")


if __name__ == "__main__":
    main()
