"""Saliency maps of a chosen quality, to see what EPS makes of better and worse ones (docs/demo.md).

As a dataset's own saliency command:

    saliency:
      make: command
      command: python docs/saliency_levels.py --list {list} --out {out} --maps FOLDER [--masks] [--wrong 0.25]
"""

import argparse
import random
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    args = arguments()
    rows = [line.split("\t") for line in Path(args.list).read_text(encoding="utf-8").splitlines()]
    source = sources([item_id for item_id, _ in rows], args.wrong)
    for item_id, image_path in rows:
        with Image.open(image_path) as image:
            size_wh = image.size
        made = saliency(Path(args.maps) / f"{source[item_id]}.png", args.masks)
        made.resize(size_wh, Image.Resampling.BILINEAR).save(Path(args.out) / f"{item_id}.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", required=True, help="text file of `id<TAB>image path` lines")
    parser.add_argument("--out", required=True, help="folder the maps are written to")
    parser.add_argument("--maps", required=True, help="folder of ID.png to start from")
    parser.add_argument("--masks", action="store_true", help="they are ground-truth masks: salient is what is not 0")
    parser.add_argument("--wrong", type=float, default=0.0, help="share of images that get the map of another one")
    return parser.parse_args()


def sources(ids: list[str], wrong: float) -> dict[str, str]:
    """Id -> id whose map it gets; `wrong` of them, drawn with a fixed seed, get one another's."""
    drawn = random.Random(0).sample(sorted(ids), round(wrong * len(ids)))
    return {item_id: item_id for item_id in ids} | dict(zip(drawn, drawn[1:] + drawn[:1], strict=True))


def saliency(path: Path, is_mask: bool) -> Image.Image:
    """An 8-bit map; void pixels of a mask count as background."""
    with Image.open(path) as stored:
        values = np.array(stored)
    return Image.fromarray(np.where((values > 0) & (values < 255), 255, 0).astype(np.uint8) if is_mask else values)


if __name__ == "__main__":
    main()
