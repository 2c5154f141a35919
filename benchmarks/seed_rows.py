"""The seeds of recipes on the scored photos alone: mIoU by threshold, without the CAMs of all other photos, CRF or walk.

    python benchmarks/seed_rows.py sipe fsae_sipe [--dataset voc_animals] [--cpu_threads 1]

Each recipe's classifier must stand (results/DATASET/RECIPE/classifier/model.safetensors; `cam.seed1` is cam with seed 1); its CAMs are made anew for the
photos of `train`, in a temporary folder. `found` is the cut found on the same photos; a whole chain finds it on 500 of
trainaug, which moved it by 0.03 for cam (43.2 became 41.9) and 0.03 for eps (53.2, 52.7). `--stored` scores a chain's own CAMs.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _recipes import cut

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from wsss.data.inference import shard_batches  # noqa: E402
from wsss.data.labels import label_facts  # noqa: E402
from wsss.data.manifest import Dataset, Record, load_manifest  # noqa: E402
from wsss.engine.atomic import read_json  # noqa: E402
from wsss.engine.command import ended  # noqa: E402
from wsss.engine.task import Task  # noqa: E402
from wsss.found import MAP, settle  # noqa: E402
from wsss.io.cams import CamFolder  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.plan.plan import Plan  # noqa: E402
from wsss.plan.row import Row  # noqa: E402
from wsss.recipes.config import Config  # noqa: E402
from wsss.recipes.schema import read_yaml  # noqa: E402
from wsss.refine.background import argmax_labels, background  # noqa: E402
from wsss.rownames import base_name, seed_number  # noqa: E402
from wsss.score.confusion import confusion  # noqa: E402
from wsss.score.cuts import Scores  # noqa: E402
from wsss.score.sweep import Sweep, default_values  # noqa: E402
from wsss.score.thresholds import map_stage, seed_stage  # noqa: E402
from wsss.sections.background import Background, Rule  # noqa: E402
from wsss.sections.section import typed  # noqa: E402
from wsss.stages.cam import CamMaker, trained_networks  # noqa: E402
from wsss.train.device import pick_device  # noqa: E402

MAIN = read_yaml(REPOSITORY / "config" / "config.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--dataset", default="voc_animals")
    parser.add_argument("--cpu_threads", type=int, default=1)
    parser.add_argument("--stored", action="store_true", help="score the CAMs that stand, make none")
    options = parser.parse_args()
    device = pick_device("cpu", options.cpu_threads)
    print("| method | seed, best | found | published |")
    for name in options.recipes:
        seed = seed_of(REPOSITORY, options.dataset, name, device, options.stored)
        cells = [cut(seed.get(policy, seed.get(MAP))) for policy in ("best_on_train_gt", "found", "fixed")]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


def seed_of(project: Path, dataset_name: str, name: str, device: Any, stored: bool = False) -> dict[str, Any]:
    """The `seed` stage of scores.json of one recipe of a project, whose classifier stands there."""
    results = project / "results" / dataset_name
    dataset = load_manifest(results / "manifest.csv")
    records = tuple(record for record in dataset.split("train") if record.mask is not None)
    recipe = Config(project / "config", MAIN).recipe(base_name(name), dataset_name)
    with tempfile.TemporaryDirectory() as folder:
        if stored:
            index = results / name / "cam" / "index.json"
            cams = CamFolder.of(index, read_json(index))
        else:
            row = Row(dataset_name, base_name(name), seed_number(name))
            inputs = {key: str(project / path) for key, path in Plan(project / "config", MAIN).files_read("cam", row).items()}
            cams = make_cams(recipe, inputs, Path(folder), dataset, records, device)
        return score(recipe["evaluation"], cams, dataset, records)


def make_cams(recipe: dict, inputs: dict[str, str], folder: Path, dataset: Dataset, records: tuple[Record, ...], device: Any) -> CamFolder:
    """CAMs of `records`, made as the stage makes those of all photos, from the same files of other stages."""
    params = {"settings": recipe["cam"], "recipe": recipe, "net_options": recipe["net_options"], "compute": MAIN["compute"], "seed": 0}
    task = Task("cam", inputs, {"index": str(folder / "index.json")}, params, {"workers": 0})
    if missing := [path for path in inputs.values() if not Path(path).is_file()]:
        sys.exit(f"{recipe['net']} reads these at test, and they do not stand: {', '.join(missing)}")
    maker = CamMaker(task, dataset, trained_networks(task, dataset, device), device)
    for _ in maker.make(records, shard_batches(task, records, task.settings["batch_size"]), {record.id for record in records}):
        pass
    spec = maker.method.spec
    facts = {"form": spec.form, "geometry": spec.geometry, "norm": spec.norm, "scales": recipe["cam"]["scales"]}
    return CamFolder.of(task.output, {**facts, **({"bg_map": True} if spec.bg_map else {}), **label_facts(dataset)})


def score(evaluation: dict, cams: CamFolder, dataset: Dataset, records: tuple[Record, ...]) -> dict[str, Any]:
    """The `seed` stage of scores.json."""
    rule = settle(typed(evaluation["bg"], Background), {})
    if rule.kind == MAP:
        return beside_map(rule, cams, dataset, records)
    sweep, scores = Sweep(dataset.num_classes, rule.kind, default_values(rule.kind, [rule.value])), Scores()
    for record in records:
        gt = read_mask(record.mask)
        cam = cams.at(record, gt.shape)
        sweep.add(cam, record.labels, gt, record.id)
        scores.add(cam, record.id)
    result, found = sweep.result(), scores.cut()
    return seed_stage(result, dataset.classes, rule.value, "fixed", None if found is None else result.nearest(found))


def beside_map(rule: Rule, cams: CamFolder, dataset: Dataset, records: tuple[Record, ...]) -> dict[str, Any]:
    """The same of CAMs with a background map, which are not cut."""
    total: Any = 0
    for record in records:
        gt = read_mask(record.mask)
        cam, bg_map = cams.both_at(record, gt.shape)
        labels: np.ndarray = argmax_labels(cam, background(cam, *rule, bg_map), record.labels)
        total = total + confusion(gt, labels, dataset.num_classes + 1, record.id)
    return map_stage(total, dataset.classes, rule.value, {})


if __name__ == "__main__":
    sys.exit(ended(main))
