"""CPN's pair of superpixels: the look-up table against the loop over pixels, and its share of a training step.

    python benchmarks/pair_masks.py --crop 448 --backbone resnet18 --batch 1

Plain: as released, one Python step a pixel asks whether its superpixel is hidden. Ours: a table over labels. Both
on the same crops, SLIC included. The share compares processor seconds, which other work on the machine does not
change: those of the pairs of a batch, made in the loader's processes, with those of one training step of CPN (three
looks, forward, backward, SGD), which both cores do together. Crops: `--images FOLDER`, or generated patches.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from skimage.segmentation import slic

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.data.draw import draw_geometry  # noqa: E402
from wsss.data.pair_masks import denormalised, draw_pair  # noqa: E402
from wsss.data.transforms import normalise  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.methods.cpn import CPN  # noqa: E402
from wsss.sections.section import typed  # noqa: E402
from wsss.sections.training import Augmentation  # noqa: E402


def plain_pair(image: np.ndarray, rng: np.random.Generator, options: dict) -> np.ndarray:
    """The visible part, pixel by pixel."""
    pixels = denormalised(image)
    labels = slic(pixels, n_segments=options["segments"], compactness=options["compactness"], start_label=1)
    last = int(labels.max())
    hidden = set(rng.integers(0, last + 1, size=(last + 1) // 2).tolist())
    mask = np.zeros((1, *labels.shape), np.float32)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            mask[0, i, j] = labels[i, j] not in hidden
    return mask


def crops(folder: Path | None, side: int, count: int) -> list[np.ndarray]:
    """(3, side, side) float32 normalised."""
    rng = np.random.default_rng(0)
    if folder is None:
        patches = rng.integers(30, 226, (count, side // 32 + 1, side // 32 + 1, 3)).repeat(32, 1).repeat(32, 2)
        images = [np.uint8(p[:side, :side] + rng.integers(-25, 26, (side, side, 3))) for p in patches]
        return [normalise(image) for image in images]
    settings = typed({"resize": {"long_side": [side, round(side * 12 / 7)]}, "flip": 0.5, "crop": side}, Augmentation)
    images = [read_image(path) for path in sorted(folder.rglob("*.jpg"))[:count]]
    return [draw_geometry(image.shape[:2], settings, rng).image(image) for image in images]


def step_seconds(backbone: str, image: torch.Tensor, mask: torch.Tensor, steps: int) -> float:
    """Processor seconds of one training step, the least of `steps`."""
    torch.manual_seed(0)
    net = CPN(20, backbone, {}).train()
    optimiser = torch.optim.SGD([{"params": g["params"]} for g in net.param_groups()], lr=1e-6)
    y = torch.zeros(len(image), 20)
    y[:, 3] = 1
    batch = {"image": image, "y": y, "pair_mask": mask, "pair_weight": mask.mean((1, 2, 3))}
    found = []
    for step in range(steps):
        start = time.process_time()
        net.loss(batch, net(batch, net.loss_want), step)["total"].backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Time both ways and a training step; print the share and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, default=448)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--backbone", default="resnet18", help="published: resnet38d")
    parser.add_argument("--images", type=Path, help="folder of .jpg; generated patches otherwise")
    parser.add_argument("--count", type=int, default=6, help="crops timed")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.images and not any(args.images.glob("*.jpg")):
        parser.error(f"{args.images}: no .jpg in this folder")
    images, seconds, masks = crops(args.images, args.crop, args.count), {"plain": [], "ours": []}, []
    for seed, image in enumerate(images):
        start = time.process_time()
        plain = plain_pair(image, np.random.default_rng(seed), CPN.defaults)
        middle = time.process_time()
        mask, _ = draw_pair(image, np.random.default_rng(seed), CPN.defaults)
        seconds["plain"].append(middle - start)
        seconds["ours"].append(time.process_time() - middle)
        masks.append(mask)
        assert np.array_equal(mask, plain)
    hidden = 1 - np.mean(masks)
    print(f"{len(images)} crops of {args.crop}: the same masks both ways, {100 * hidden:.1f} % hidden")
    chosen = [torch.from_numpy(np.stack([some[i % len(some)] for i in range(args.batch)])) for some in (images, masks)]
    step, pair = step_seconds(args.backbone, *chosen, args.steps), np.median(seconds["ours"]) * args.batch
    print(f"a step of batch {args.batch}, {args.backbone}: {step:.3g} processor seconds; its pairs {pair:.3g}: {100 * pair / step:.2f} %")
    report_ratio(float(np.median(seconds["plain"])), float(np.median(seconds["ours"])))


if __name__ == "__main__":
    main()
