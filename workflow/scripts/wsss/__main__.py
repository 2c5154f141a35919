"""`python -m wsss`: look at a recipe, run a finished stage again, export networks and masks, write schemas for an editor.

    python -m wsss show amn demo
    python -m wsss run results/demo/amn/cam/run.json
    python -m wsss onnx results/demo/amn --out net.onnx
    python -m wsss schema .schemas
    python -m wsss export results/demo/amn/pseudo_masks --as coco --out masks.json
    python -m wsss masks corrected --dataset results/demo --out masks
"""

import argparse
import sys
from pathlib import Path

from wsss.engine.command import ended

CONFIG = Path(__file__).resolve().parents[3] / "config"


def show(options: argparse.Namespace) -> None:
    """Print a recipe on a dataset: values and the files they come from, stages and what they read."""
    from wsss.plan.plan import Plan
    from wsss.plan.row import Row
    from wsss.plan.show import shown
    from wsss.recipes.schema import read_yaml

    plan = Plan(options.config, read_yaml(options.config / "config.yaml"))
    print(shown(plan, Row.of(options)))


def run(options: argparse.Namespace) -> None:
    """Run a finished stage once more, into a folder of its own."""
    from wsss.plan.again import run_again

    print(run_again(options.record, options.into))


def onnx(options: argparse.Namespace) -> None:
    """Write the segmentation network of a finished method as an ONNX file."""
    from wsss.imports.onnx_file import export_onnx

    print(export_onnx(options.folder, options.out, options.overwrite))


def schema(options: argparse.Namespace) -> None:
    """Write the JSON schemas of the config files, for editors."""
    from wsss.engine.atomic import explain_os_errors, write_json
    from wsss.recipes.editor import editor_schemas

    with explain_os_errors(options.folder):
        options.folder.mkdir(parents=True, exist_ok=True)
    for kind, content in editor_schemas().items():
        write_json(options.folder / f"{kind}.json", content)
        print(options.folder / f"{kind}.json")


def export(options: argparse.Namespace) -> None:
    """Write masks as COCO, LabelMe or CVAT files."""
    from wsss.annotations.command import export_masks

    print(export_masks(options.folder, options.kind, options.out, options.tolerance, options.overwrite))


def masks(options: argparse.Namespace) -> None:
    """Write corrected LabelMe or CVAT files as palette PNGs."""
    from wsss.annotations.command import draw_masks

    print(draw_masks(options.source, options.dataset, options.out, options.rest, options.overwrite))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m wsss", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("show", help="a recipe on a dataset: values with their files, stages with their inputs")
    command.add_argument("method")
    command.add_argument("dataset")
    command.add_argument("--config", type=Path, default=CONFIG, help="folder of config files")
    command.set_defaults(run=show)
    command = commands.add_parser("run", help="one finished stage once more, outside Snakemake")
    command.add_argument("record", type=Path, help="its run.json")
    command.add_argument("--into", type=Path, help="folder for what it makes; default: STAGE.again beside the stage's")
    command.set_defaults(run=run)
    command = commands.add_parser("onnx", help="the segmentation network of a finished method as an ONNX file")
    command.add_argument("folder", type=Path, help="results/DATASET/METHOD")
    command.add_argument("--out", type=Path, required=True, help="file to write")
    command.add_argument("--overwrite", action="store_true", help="replace the file where it is there")
    command.set_defaults(run=onnx)
    command = commands.add_parser("schema", help="JSON schemas of the config files, for editors (config/README.md)")
    command.add_argument("folder", type=Path, help="folder to write them into")
    command.set_defaults(run=schema)
    command = commands.add_parser("export", help="masks as COCO JSON, LabelMe files, CVAT XML, or PNGs of the photos' own size")
    command.add_argument("folder", type=Path, help="results/DATASET/METHOD/STAGE: pseudo_masks, predictions, predict/NAME")
    command.add_argument("--as", dest="kind", choices=("coco", "labelme", "cvat", "png"), required=True)
    command.add_argument("--out", type=Path, required=True, help="file to write; for labelme and png a folder")
    command.add_argument("--tolerance", type=float, default=1.0, help="pixels that LabelMe's polygons may leave the outline, for fewer points; 0: exact (1)")
    command.add_argument("--overwrite", action="store_true", help="replace files that are there")
    command.set_defaults(run=export)
    command = commands.add_parser("masks", help="corrected LabelMe or CVAT files as palette PNGs")
    command.add_argument("source", type=Path, help="a folder of LabelMe's .json files, or CVAT's annotations.xml")
    command.add_argument("--dataset", type=Path, required=True, help="results/DATASET, for classes and photos")
    command.add_argument("--out", type=Path, required=True, help="folder for ID.png")
    command.add_argument("--rest", type=Path, help="results/DATASET/METHOD/STAGE, whose masks the other photos keep")
    command.add_argument("--overwrite", action="store_true", help="replace masks that are there")
    command.set_defaults(run=masks)
    options = parser.parse_args(arguments)
    return ended(lambda: options.run(options), "wsss: ")


if __name__ == "__main__":
    sys.exit(main())
