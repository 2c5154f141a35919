"""docs/images/moving_threshold.webp: the threshold moved over CAM's and AMN's maps of a demo scene.

    snakemake                                              # the first run: its report has made the picture's layers
    python docs/make_moving_threshold.py results/demo_small train_0023
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from wsss.engine.atomic import write_bytes  # noqa: E402
from wsss.report.layers import PHOTO, SUFFIX, read_layers  # noqa: E402
from wsss.report.moving import animated, frames  # noqa: E402

OUT = Path(__file__).parent / "images/moving_threshold.webp"
METHODS = {"cam_seed": "CAM", "amn_seed": "AMN"}  # whose panels, and what the picture calls them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results/demo_small of the first run")
    parser.add_argument("id", help="a training scene that has panels")
    options = parser.parse_args()
    layers = {title: read_layers(options.results / method / "panels" / f"{options.id}{SUFFIX}") for method, title in METHODS.items()}
    first = layers["CAM"]
    drawn = frames(first[PHOTO], {title: found["cam"] for title, found in layers.items()}, first["ground_truth"])
    write_bytes(OUT, animated(list(drawn)))
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
