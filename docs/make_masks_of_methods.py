"""docs/images/masks_of_methods.png: pseudo-masks of several recipes on scenes of the demo, beside the truth.

    snakemake results/demo_small/{cam_seed,eps,fsae_eps,amn_seed}/pseudo_masks/index.json
    python docs/make_masks_of_methods.py results/demo_small cam_seed eps fsae_eps amn_seed

The scenes are spread evenly over the training scenes, so none is chosen by its masks.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from wsss.data.manifest import load_manifest  # noqa: E402
from wsss.engine.atomic import write_bytes  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.report.panels import PAPER, overlay, tiles_in_a_row  # noqa: E402
from wsss.stages.panels import spread  # noqa: E402

OUT = Path(__file__).parent / "images/masks_of_methods.png"
SIDE = 110  # pixels: of a scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results/demo_small")
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--scenes", type=int, default=4)
    options = parser.parse_args()
    records = [record for record in load_manifest(options.results / "manifest.csv").split("trainaug") if record.mask]
    rows = []
    for record in spread(records, options.scenes):
        image = read_image(record.image)
        masks = {name: options.results / name / "pseudo_masks" / f"{record.id}.png" for name in options.recipes}
        tiles = [(title, overlay(image, read_mask(path))) for title, path in {"truth": record.mask, **masks}.items()]
        rows.append(tiles_in_a_row([("scene", image), *tiles], SIDE))
    data = io.BytesIO()
    picture = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), PAPER)
    for number, row in enumerate(rows):  # of one height, as wide as the scene is
        picture.paste(row, (0, number * row.height))
    picture.quantize(128).save(data, "PNG", optimize=True)
    write_bytes(OUT, data.getvalue())
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
