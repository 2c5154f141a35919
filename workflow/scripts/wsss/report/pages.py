"""Static pages over the scores: `index.html` across methods and one page per method.

Everything a page shows lies beside it under relative links, so the folder can be moved, mailed or opened from
disk. What the pages say in words stands in their templates (`wsss.report.render`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss.engine.atomic import read_json, write_text
from wsss.errors import UserError
from wsss.report import (
    comparison,
    confusions,
    costs,
    diagnosis,
    gallery,
    moving,
    plots,
    reading,
    render,
    tables,
)
from wsss.report.cells import over_seeds
from wsss.report.per_image import image_ious, read_per_image
from wsss.report.repeats import spread
from wsss.report.sources import Sources, differing, provenance_of
from wsss.report.stage_tables import stage_tables, stages_of
from wsss.rownames import base_name, seed_number
from wsss.score.confusion import matrix_of
from wsss.score.write import STAGES, provenance_line

SIDE_BY_SIDE = "side-by-side.html"  # no method's name has a hyphen
MOVING = "moving.webp"
FIRST_LOOK = 3  # images on the first page
UNSCORED: dict[str, Any] = {"miou": None, "stages": {}}


def build(inputs: dict, out_dir) -> None:
    """Write index.html, {method}.html, side-by-side.html, summary.csv, the plots and the pictures into `out_dir`.

    inputs: {"dataset": name, "classes": foreground names, "methods": [{"name", "scores": path of scores.json,
    "sweep": path of sweep.csv, "per_image": path of per_image.csv, "diagnosis": path of diagnosis.json,
    "history": {stage: path of history.csv}, "panels": {image id: file of `wsss.report.layers`}, "chain": of `wsss.report.costs`}]}; all but name may be missing (scores: there is no ground truth). Names `m.seed1`, `m.seed2` are further seeds of method `m`: they join its
    row, its page and its plots, as mean and standard deviation; panels are the first seed's. Raises UserError naming a file that is missing or unreadable.
    """
    out = Path(out_dir)
    entries = inputs["methods"]
    if not entries:
        raise UserError("report: no method is given; name at least one in config/config.yaml")
    methods = tables.group({m["name"]: read_json(m["scores"]) if m.get("scores") else UNSCORED for m in entries})
    seeds: dict[str, list[dict]] = {}
    for entry in sorted(entries, key=lambda m: seed_number(m["name"])):
        seeds.setdefault(base_name(entry["name"]), []).append(entry)
    for name in render.ASSETS:
        write_text(out / name, render.asset(name))
    write_text(out / "summary.csv", tables.summary_csv(inputs["dataset"], methods))
    write_text(out / "summary.txt", tables.summary_txt(inputs["dataset"], methods))
    site = _Site(inputs, out, methods, seeds)
    site.index()
    for method in methods:
        site.method(method)
    if site.images:
        site.side_by_side()


@dataclass(frozen=True)
class Plot:
    """A plot beside the pages; alt: what it shows, in words."""

    name: str
    alt: str
    is_wide: bool = False


class _Site:
    """The pages of one dataset; `seeds` maps a method to the inputs of each of its seeds."""

    def __init__(self, inputs, out, methods, seeds):
        self.dataset, self.classes = inputs["dataset"], list(inputs["classes"])
        self.out, self.methods, self.seeds = out, methods, seeds
        self.histories = {m: found for m, runs in seeds.items() if (found := reading.histories(runs))}
        self.diagnoses = {m: said for m, runs in seeds.items() if (said := reading.diagnoses(runs))}
        self.tables = {m: read_per_image(runs[0]["per_image"]) for m, runs in seeds.items() if runs[0].get("per_image")}
        self.costs = {m: costs.stage_costs(runs[0].get("chain", [])) for m, runs in seeds.items()}
        panels = {m: runs[0].get("panels") or {} for m, runs in seeds.items()}
        self.ious = {m: image_ious(table) for m, table in self.tables.items()}
        self.images = gallery.images(out, self.classes, panels, self.ious)
        self.moving = moving.write_moving(out / MOVING, panels)

    def index(self):
        scored = [m for m in self.methods if stages_of(m)]
        table = {"table": tables.methods_table(self.methods), "sources": tables.methods_sources(self.methods)}
        self._page(
            "index.html", self.dataset, "from image labels to segmentation",
            diagnosis=self._diagnosis(self.diagnoses),
            methods=table if scored else None,
            moving=self._moving(),
            curves=self._curves("curves.svg", self.methods),
            stability=tables.stability_table(self.methods),
            comparisons=comparison.comparisons(self.tables, len(self.classes) + 1),
            confusions=confusions.confusion_table({m.name: _last_block(m) for m in scored}),
            cost=costs.cost_table(self.costs),
            **self._per_class("per_class.svg", {m.name: _last(m)[1] for m in scored}),
            images=_with_ious(gallery.few(self.images, FIRST_LOOK)),
            image_count=len(self.images),
            **self._training("training.svg", self.histories),
        )  # fmt: skip

    def method(self, method):
        name = method.name
        by_stage = {STAGES[s]: _per_class(method, s) for s, _ in stages_of(method)}
        self._page(
            f"{name}.html", name, f"on {self.dataset}",
            scores=_scores(method) if stages_of(method) else None,
            curves=self._curves(f"{name}_curve.svg", [method]),
            confusions=confusions.confusion_table({name: _last_block(method)}) if stages_of(method) else None,
            matrix=self._matrix(method),
            cost=costs.stages_table(name, self.costs[name]),
            **self._per_class(f"{name}_per_class.svg", by_stage),
            diagnosis=self._diagnosis({m: d for m, d in self.diagnoses.items() if m == name}),
            images=_with_ious(gallery.of_method(self.images, name)),
            sortable=[name],
            **self._training(f"{name}_training.svg", {m: h for m, h in self.histories.items() if m == name}),
        )  # fmt: skip

    def _diagnosis(self, found):
        contents = [content for runs in found.values() for content in runs]
        return {"warnings": diagnosis.warnings(contents), "table": diagnosis.table(contents), "methods": len(found)} if contents else None

    def _curves(self, file, methods):
        found = {m.name: c for m in methods if (c := reading.curve_of(self.seeds[m.name], _cut_by(m)))}
        if not found:
            return None
        plots.curves(self.out / file, found)
        return Plot(file, f"mIoU of the seed against the threshold: {', '.join(found)}")

    def _per_class(self, file, scores):
        if not scores:
            return {"per_class": None, "per_class_table": None}
        plots.per_class(self.out / file, self.classes, scores)
        plot = Plot(file, f"IoU of each class: {', '.join(scores)}", is_wide=len(self.classes) > 30)
        return {"per_class": plot, "per_class_table": tables.per_class_table(self.classes, scores)}

    def _moving(self):
        alt = f"the threshold moves over the CAMs of {', '.join(self.moving)} on one image, and the objects that are cut out grow and shrink"
        return Plot(MOVING, alt) if self.moving else None

    def _matrix(self, method):
        """The first seed's confusion matrix at the last stage."""
        block = _last_block(method) if stages_of(method) else {}
        if "confusion" not in block:
            return None
        file, stage = f"{method.name}_confusion.svg", STAGES[_last(method)[0]]
        conf = matrix_of(block, self.classes, str(self.seeds[method.name][0]["scores"]))
        plots.matrix(self.out / file, block["labels"], conf)
        return Plot(file, f"confusion matrix of {method.name}, {stage}: true label by predicted label, in percent of the true label's pixels")

    def _training(self, file, histories):
        stages = dict.fromkeys(s for runs in histories.values() for s in runs)
        if not stages:
            return {"training": None, "pseudo_labels": None}
        found = {m: diagnosis.classifier_map(self.diagnoses.get(m, [])) for m in histories}
        notes = {"classifier": {m: f"mAP {value:.1f}" for m, value in found.items() if value is not None}}
        plots.training(self.out / file, {s: {m: r[s] for m, r in histories.items() if s in r} for s in stages}, notes)
        plot = Plot(file, f"training loss of {', '.join(stages)}: {', '.join(histories)}")
        taught = self._pseudo_labels(f"pseudo-{file}", histories)  # no method has a name with a hyphen
        return {"training": plot, "pseudo_labels": taught}

    def _pseudo_labels(self, file, histories):
        """What wrapped classifiers learned from, where there are any."""
        wrapped = {m: runs["classifier"] for m, runs in histories.items() if "expanded" in runs.get("classifier", [{}])[0]}
        if not wrapped:
            return None
        plots.shares(self.out / file, wrapped)
        table = diagnosis.pseudo_label_table([c for m in wrapped for c in self.diagnoses.get(m, [])])
        return {"plot": Plot(file, f"what wrapped classifiers are taught, by step: {', '.join(wrapped)}"), "table": table}

    def side_by_side(self):
        """All pictures, in an order that the reader chooses where there is ground truth."""
        images = _with_ious(self.images)
        scored = [m.name for m in self.methods if any(m.name in image["ious"] for image in images)]
        self._page(SIDE_BY_SIDE, "Images", f"of {self.dataset}", images=images, sortable=scored, ranked_by=self.methods[0].name, extremes=gallery.extremes_table(self.ious))

    def _page(self, file, title, subtitle, **facts):
        links = [{"href": "index.html", "text": "all methods"}]
        links += [{"href": SIDE_BY_SIDE, "text": "images"}] if self.images else []
        links += [{"href": f"{m.name}.html", "text": m.name} for m in self.methods]
        template = file if file in ("index.html", SIDE_BY_SIDE) else "method.html"
        text = render.page(template, here=file, title=title, subtitle=subtitle, links=links, **facts)
        write_text(self.out / file, text)


def _with_ious(images):
    """With what the order of images goes by: method -> IoU."""
    return [{**i, "ious": {row["method"]: row["iou"] for row in i["rows"] if row["iou"] is not None}} for i in images]


def _scores(method):
    """What ground truth says of a method."""
    stage, _ = _last(method)
    found = {STAGES[s]: _provenance(method, s) for s, _ in stages_of(method)}
    notes = [f"{name}: {provenance_line(source)}." for name, source in found.items()]
    return {
        "miou": over_seeds(run["miou"] for run in method.runs),
        "stage": STAGES[stage],
        "n": len(method.runs),
        "repeats": tables.REPEATS,
        "tables": stage_tables(method),
        "sources": Sources(differing({name: {method.name: source} for name, source in found.items()}), notes, "stages"),
    }


def _last(method):
    """The last stage there is, and the IoU of each class there, over the seeds."""
    stage, _ = stages_of(method)[-1]
    return stage, _per_class(method, stage)


def _last_block(method):
    """The first seed's block of the last stage."""
    return method.runs[0]["stages"][_last(method)[0]]


def _per_class(method, stage):
    blocks = [run["stages"][stage]["per_class"] for run in method.runs if stage in run["stages"]]
    return {name: spread(block.get(name) for block in blocks) for name in blocks[0]}


def _cut_by(method):
    """Provenance of the seed at the published threshold."""
    return method.runs[0]["stages"].get("seed", {}).get("fixed", {}).get("provenance")


def _provenance(method, stage):
    return provenance_of([run["stages"][stage] for run in method.runs if stage in run["stages"]])
