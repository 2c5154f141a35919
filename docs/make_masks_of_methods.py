"""docs/images/masks_of_methods.png: pseudo-masks of several recipes on scenes of the demo, beside the truth.

    snakemake results/demo_small/{cam_seed,eps,fsae_eps,amn_seed}/pseudo_masks/index.json
    python docs/make_masks_of_methods.py results/demo_small cam_seed eps fsae_eps amn_seed

The scenes are spread evenly over the training scenes, so none is chosen by its masks.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from wsss.data.manifest import load_manifest  # noqa: E402
from wsss.engine.atomic import write_bytes  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.report.panels import GAP, INK, PAPER, font, overlay  # noqa: E402

OUT = Path(__file__).parent / "images/masks_of_methods.png"
SIDE, BAR = 110, 20  # pixels: of a scene, and of the line with the methods' names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results/demo_small")
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--scenes", type=int, default=4)
    options = parser.parse_args()
    records = [record for record in load_manifest(options.results / "manifest.csv").split("trainaug") if record.mask]
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, options.scenes + 2).astype(int)[1:-1]]
    rows = []
    for record in chosen:
        image = read_image(record.image)
        masks = [options.results / name / "pseudo_masks" / f"{record.id}.png" for name in options.recipes]
        rows.append([image, *(overlay(image, read_mask(path)) for path in (record.mask, *masks))])
    data = io.BytesIO()
    grid(["scene", "truth", *options.recipes], rows).quantize(128).save(data, "PNG", optimize=True)
    write_bytes(OUT, data.getvalue())
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")


def grid(titles: list[str], rows: list[list[np.ndarray]]) -> Image.Image:
    """Pictures in rows, (H, W, 3) uint8 each, under the titles of their columns."""
    step = SIDE + GAP
    canvas = Image.new("RGB", (GAP + step * len(titles), BAR + step * len(rows)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((GAP + step * column, 3), title, fill=INK, font=font(12))
        for row, pictures in enumerate(rows):
            canvas.paste(Image.fromarray(pictures[column]).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (GAP + step * column, BAR + step * row))
    return canvas


if __name__ == "__main__":
    main()
