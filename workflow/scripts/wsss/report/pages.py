"""Static pages over the scores: `index.html` across methods and one page per method.

Everything a page shows lies beside it under relative links, so the folder can be moved, mailed or opened from
disk.
"""

import io
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from wsss.engine.atomic import read_json, write_bytes, write_text
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.report import diagnosis, plots, tables
from wsss.report.repeats import mean_curve, spread
from wsss.report.style import CSS
from wsss.report.text import CAPTIONS, PAGE
from wsss.rownames import base_name, seed_number
from wsss.score.write import STAGES, provenance_line

UNSCORED = {"miou": None, "stages": {}}


def build(inputs: dict, out_dir) -> None:
    """Write index.html, {method}.html, summary.csv, the plots and copies of the panels into `out_dir`.

    inputs: {"dataset": name, "classes": foreground names, "methods": [{"name", "scores": path of scores.json,
    "sweep": path of sweep.csv, "diagnosis": path of diagnosis.json, "history": {stage: path of history.csv},
    "panels": [paths of PNGs]}]}; all but name may be missing (scores: there is no ground truth). Names `m.seed1`, `m.seed2` are further seeds of method `m`: they join its
    row, its page and its plots, as mean and standard deviation; panels are the first seed's. Raises UserError naming a file that is missing or unreadable.
    """
    out = Path(out_dir)
    entries = inputs["methods"]
    if not entries:
        raise UserError("report: no method is given; name at least one in config/config.yaml")
    methods = tables.group({m["name"]: read_json(m["scores"]) if m.get("scores") else UNSCORED for m in entries})
    seeds = {}
    for entry in sorted(entries, key=lambda m: seed_number(m["name"])):
        seeds.setdefault(base_name(entry["name"]), []).append(entry)
    write_text(out / "style.css", CSS)
    write_text(out / "summary.csv", tables.summary_csv(inputs["dataset"], methods))
    write_text(out / "summary.txt", tables.summary_txt(inputs["dataset"], methods))
    site = _Site(inputs, out, methods, seeds)
    site.index()
    for method in methods:
        site.method(method)


def read_curve(path, kind: str = "const", fixed: float | None = None) -> dict:
    """sweep.csv -> {"threshold": (T,), "miou": (T,), "kind", "fixed"}, NaN where a cell is empty."""
    columns = _read_csv(path, ("threshold", "miou"))
    return {**columns, "kind": kind, "fixed": fixed}


class _Site:
    """The pages of one dataset; `seeds` maps a method to the inputs of each of its seeds."""

    def __init__(self, inputs, out, methods, seeds):
        self.dataset, self.classes = inputs["dataset"], list(inputs["classes"])
        self.out, self.methods, self.seeds = out, methods, seeds
        self.histories = {m: found for m, runs in seeds.items() if (found := _histories(runs))}
        self.diagnoses = {m: found for m, runs in seeds.items() if (found := _diagnoses(runs))}
        self.panels = {m: self._copy_panels(m, runs[0].get("panels", [])) for m, runs in seeds.items()}

    def index(self):
        scored = [m for m in self.methods if _stages(m)]
        parts = self._diagnosis(self.diagnoses)
        parts += [_section("Methods", "table", tables.methods_table(self.methods))] if scored else []
        curves = {m.name: c for m in self.methods if (c := self._curve(m))}
        if curves:
            plots.curves(self.out / "curves.svg", curves)
            parts.append(_section("mIoU against the threshold", "curves", _image("curves.svg")))
            stability = tables.stability_table(self.methods)
            parts.append(_section("How much the threshold matters", "stability", stability))
        if scored:
            plots.per_class(self.out / "per_class.svg", self.classes, {m.name: _last(m)[1] for m in scored})
            parts.append(_section("Classes", "per_class", _image("per_class.svg", wide=len(self.classes) > 30)))
        parts += self._training("training.svg", self.histories)
        shown = [m.name for m in self.methods if self.panels[m.name]]
        parts += [self._panel_section(f"Images: {name}", name) for name in shown]
        self._page("index.html", self.dataset, "from image labels to segmentation", "".join(parts))

    def method(self, method):
        parts = self._scores(method) if _stages(method) else []
        parts += self._diagnosis({method.name: self.diagnoses[method.name]}) if method.name in self.diagnoses else []
        runs = {method.name: self.histories[method.name]} if method.name in self.histories else {}
        parts += self._training(f"{method.name}_training.svg", runs)
        parts += [self._panel_section("Images", method.name)] if self.panels[method.name] else []
        self._page(f"{method.name}.html", method.name, f"on {self.dataset}", "".join(parts))

    def _scores(self, method):
        """What ground truth says of a method."""
        stage, _ = _last(method)
        score, n = tables.over_seeds(run["miou"] for run in method.runs), len(method.runs)
        lead = f'<span class="big">{score}</span> % mIoU, {escape(STAGES[stage])}'
        lead += f", {escape(tables.REPEATS)}, n = {n}" if n > 1 else ""
        parts = [f"<section><p>{lead}</p></section>", _section("Stages", "stages", _stages_table(method))]
        curve = self._curve(method)
        if curve:
            plots.curves(self.out / f"{method.name}_curve.svg", {method.name: curve})
            parts.append(_section("mIoU against the threshold", "curves", _image(f"{method.name}_curve.svg")))
        plot = f"{method.name}_per_class.svg"
        by_stage = {STAGES[s]: _per_class(method, s) for s, _ in _stages(method)}
        plots.per_class(self.out / plot, self.classes, by_stage)
        parts.append(_section("Classes", "per_class", _image(plot, wide=len(self.classes) > 30)))
        return parts

    def _diagnosis(self, found):
        contents = [content for runs in found.values() for content in runs]
        if not contents:
            return []
        return [_section("Diagnosis", "diagnosis", diagnosis.warnings(contents) + tables.html_table(*diagnosis.table(contents)))]

    def _curve(self, method):
        paths = [entry["sweep"] for entry in self.seeds[method.name] if entry.get("sweep")]
        source = _dig_provenance(method.runs[0])
        if not paths or not source:
            return None
        kind, fixed = source.get("threshold_kind", "const"), source.get("threshold")
        return mean_curve([read_curve(path, kind, fixed) for path in paths])

    def _training(self, name, histories):
        stages = dict.fromkeys(s for runs in histories.values() for s in runs)
        if not stages:
            return []
        plots.training(
            self.out / name, {s: {m: r[s] for m, r in histories.items() if s in r} for s in stages}
        )
        return [_section("Training", "training", _image(name)), *self._pseudo_labels(f"pseudo_{name}", histories)]

    def _pseudo_labels(self, name, histories):
        """What wrapped classifiers learned from, where there are any."""
        wrapped = {m: runs["classifier"] for m, runs in histories.items() if "expanded" in runs.get("classifier", [{}])[0]}
        if not wrapped:
            return []
        plots.shares(self.out / name, wrapped)
        table = diagnosis.pseudo_label_table([c for m in wrapped for c in self.diagnoses.get(m, [])])
        return [_section("Pseudo-labels", "pseudo_labels", _image(name) + (tables.html_table(*table) if table else ""))]

    def _copy_panels(self, method, paths):
        names = []
        for path in map(Path, paths):
            names.append(f"panels/{method}/{path.name}")
            target = self.out / names[-1]
            if path.resolve() != target.resolve():
                write_bytes(target, _read(path))
        return names

    def _panel_section(self, title, method):
        figures = "".join(
            f'<a href="{quote(p)}"><img loading="lazy" src="{quote(p)}" alt="{escape(Path(p).stem)}"></a>'
            for p in self.panels[method]
        )
        return _section(title, "panels", f'<div class="panels">{figures}</div>')

    def _page(self, name, title, subtitle, body):
        links = [("index.html", "all methods")] + [(f"{m.name}.html", m.name) for m in self.methods]
        nav = "".join(
            f'<a href="{escape(href)}"{" aria-current=page" if href == name else ""}>{escape(text)}</a>'
            for href, text in links
        )
        words = {"title": escape(title), "subtitle": escape(subtitle)}
        write_text(self.out / name, PAGE.format(**words, nav=nav, body=body))


def _section(title, caption, body):
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{CAPTIONS[caption]}</p>\n{body}\n</section>\n"


def _image(name, wide=False):
    kind = "plot wide" if wide else "plot"
    return f'<figure class="{kind}"><img src="{quote(name)}" alt="{escape(Path(name).stem)}"></figure>'


def _histories(entries):
    """stage -> the history of each seed that has one."""
    found = {}
    for stage, path in [pair for entry in entries for pair in entry.get("history", {}).items()]:
        found.setdefault(stage, []).append(_read_csv(path, ("step", "total"), plots.SHARES))
    return found


def _diagnoses(entries):
    """diagnosis.json of each seed that has one, under the seed's name."""
    return [{**read_json(e["diagnosis"]), "method": e["name"]} for e in entries if e.get("diagnosis")]


def _stages(method):
    return [(s, method.runs[0]["stages"][s]) for s in STAGES if s in method.runs[0]["stages"]]


def _last(method):
    """The last stage there is, and the IoU of each class there, over the seeds."""
    stage, _ = _stages(method)[-1]
    return stage, _per_class(method, stage)


def _per_class(method, stage):
    blocks = [run["stages"][stage]["per_class"] for run in method.runs if stage in run["stages"]]
    return {name: spread(block.get(name) for block in blocks) for name in blocks[0]}


def _dig_provenance(scores):
    return scores["stages"].get("seed", {}).get("fixed", {}).get("provenance")


def _stages_table(method):
    keys = ["miou", "precision", "recall", "coverage", "other_rule_miou"]
    head = ["stage", "mIoU", "precision", "recall", "coverage", "mIoU, other rule for 255"]
    rows, notes = [], []
    for number, (stage, _) in enumerate(_stages(method), 1):
        rows.append([f"{STAGES[stage]}<sup>{number}</sup>", *(_over_seeds(method, stage, k) for k in keys)])
        notes.append(f"<li>{STAGES[stage]}: {escape(provenance_line(_provenance(method, stage)))}.</li>")
    return tables.html_table(head, rows) + f'<ol class="notes">{"".join(notes)}</ol>'


def _provenance(method, stage):
    return tables.provenance_of([run["stages"][stage] for run in method.runs if stage in run["stages"]])


def _over_seeds(method, stage, key):
    return tables.over_seeds(run["stages"].get(stage, {}).get(key) for run in method.runs)


def _read_csv(path, names, also=()):
    """The columns `names`, and of `also` those that are there."""
    content = _read(path)
    if not content.endswith(b"\n"):  # what is cut short is mostly a CSV still
        raise UserError(f"{path}: damaged, its last line has no end; {remedy(path)}")
    try:
        table = pd.read_csv(io.BytesIO(content))
        return {name: table[name].to_numpy(dtype=float) for name in [*names, *(n for n in also if n in table)]}
    except KeyError as error:
        raise UserError(f"{path}: needs the columns {', '.join(names)}; {remedy(path)}") from error
    except ValueError as error:  # pandas' own errors are of this kind too
        raise UserError(f"{path}: damaged ({error}); {remedy(path)}") from error


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy(path)}") from error
