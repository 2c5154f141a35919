"""Static pages over the scores: `index.html` across methods and one page per method.

Everything a page shows lies beside it under relative links, so the folder can be moved, mailed or opened from
disk.
"""

import io
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from wsss.errors import UserError
from wsss.io.atomic import read_json, write_bytes, write_text
from wsss.report import plots, tables
from wsss.report.style import CSS
from wsss.report.text import CAPTIONS, PAGE
from wsss.score.write import STAGES, provenance_line


def build(inputs: dict, out_dir) -> None:
    """Write index.html, {method}.html, summary.csv, the plots and copies of the panels into `out_dir`.

    inputs: {"dataset": name, "classes": foreground names, "methods": [{"name", "scores": path of scores.json,
    "sweep": path of sweep.csv, "history": {stage: path of history.csv}, "panels": [paths of PNGs]}]}; all but
    name and scores may be missing. Names `m.seed1`, `m.seed2` are further seeds of method `m`: they join its
    row, its page and plots show the first. Raises UserError naming a file that is missing or unreadable.
    """
    out = Path(out_dir)
    entries = inputs["methods"]
    if not entries:
        raise UserError("report: no method is given; name at least one in config/config.yaml")
    methods = tables.group({m["name"]: read_json(m["scores"]) for m in entries})
    first = {}
    for entry in sorted(entries, key=lambda m: ".seed" in m["name"]):
        first.setdefault(tables.base_name(entry["name"]), entry)
    write_text(out / "style.css", CSS)
    write_text(out / "summary.csv", tables.summary_csv(inputs["dataset"], methods))
    site = _Site(inputs, out, methods, first)
    site.index()
    for method in methods:
        site.method(method)


def read_curve(path, kind: str = "const", fixed: float | None = None) -> dict:
    """sweep.csv -> {"threshold": (T,), "miou": (T,), "kind", "fixed"}, NaN where a cell is empty."""
    columns = _read_csv(path, ("threshold", "miou"))
    return {**columns, "kind": kind, "fixed": fixed}


class _Site:
    """The pages of one dataset; `first` maps a method to the inputs of its first seed."""

    def __init__(self, inputs, out, methods, first):
        self.dataset, self.classes = inputs["dataset"], list(inputs["classes"])
        self.out, self.methods, self.first = out, methods, first
        self.histories = {m: _histories(e) for m, e in first.items() if e.get("history")}
        self.panels = {m: self._copy_panels(m, e.get("panels", [])) for m, e in first.items()}

    def index(self):
        parts = [_section("Methods", "table", tables.methods_table(self.methods))]
        curves = {m.name: c for m in self.methods if (c := self._curve(m))}
        if curves:
            plots.curves(self.out / "curves.svg", curves)
            parts.append(_section("mIoU against the threshold", "curves", _image("curves.svg")))
            stability = tables.stability_table(self.methods)
            parts.append(_section("How much the threshold matters", "stability", stability))
        plots.per_class(self.out / "per_class.svg", self.classes, {m.name: _last(m)[1] for m in self.methods})
        parts.append(_section("Classes", "per_class", _image("per_class.svg", wide=len(self.classes) > 30)))
        parts += self._training("training.svg", self.histories)
        shown = [m.name for m in self.methods if self.panels[m.name]]
        parts += [self._panel_section(f"Images: {name}", name) for name in shown]
        self._page("index.html", self.dataset, "from image labels to segmentation", "".join(parts))

    def method(self, method):
        stage, _ = _last(method)
        score = method.runs[0]["miou"]
        lead = f'<span class="big">{tables.figure(score)}</span> % mIoU, {escape(STAGES[stage])}'
        parts = [f"<section><p>{lead}</p></section>", _section("Stages", "stages", _stages_table(method))]
        curve = self._curve(method)
        if curve:
            plots.curves(self.out / f"{method.name}_curve.svg", {method.name: curve})
            parts.append(_section("mIoU against the threshold", "curves", _image(f"{method.name}_curve.svg")))
        plot = f"{method.name}_per_class.svg"
        by_stage = {STAGES[s]: b["per_class"] for s, b in _stages(method)}
        plots.per_class(self.out / plot, self.classes, by_stage)
        parts.append(_section("Classes", "per_class", _image(plot, wide=len(self.classes) > 30)))
        runs = {method.name: self.histories[method.name]} if method.name in self.histories else {}
        parts += self._training(f"{method.name}_training.svg", runs)
        parts += [self._panel_section("Images", method.name)] if self.panels[method.name] else []
        self._page(f"{method.name}.html", method.name, f"on {self.dataset}", "".join(parts))

    def _curve(self, method):
        path = self.first[method.name].get("sweep")
        source = _dig_provenance(method.runs[0])
        if not path or not source:
            return None
        return read_curve(path, source.get("threshold_kind", "const"), source.get("threshold"))

    def _training(self, name, histories):
        stages = dict.fromkeys(s for runs in histories.values() for s in runs)
        if not stages:
            return []
        plots.training(
            self.out / name, {s: {m: r[s] for m, r in histories.items() if s in r} for s in stages}
        )
        return [_section("Training", "training", _image(name))]

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


def _histories(entry):
    return {stage: _read_csv(path, ("step", "total")) for stage, path in entry["history"].items()}


def _stages(method):
    return [(s, method.runs[0]["stages"][s]) for s in STAGES if s in method.runs[0]["stages"]]


def _last(method):
    stage, block = _stages(method)[-1]
    return stage, block["per_class"]


def _dig_provenance(scores):
    return scores["stages"].get("seed", {}).get("fixed", {}).get("provenance")


def _stages_table(method):
    keys = ["miou", "precision", "recall", "coverage", "other_rule_miou"]
    head = ["stage", "mIoU", "precision", "recall", "coverage", "mIoU, other rule for 255"]
    rows, notes = [], []
    for number, (stage, block) in enumerate(_stages(method), 1):
        rows.append([f"{STAGES[stage]}<sup>{number}</sup>", *(tables.figure(block.get(k)) for k in keys)])
        notes.append(f"<li>{STAGES[stage]}: {escape(provenance_line(block.get('provenance', {})))}.</li>")
    return tables.html_table(head, rows) + f'<ol class="notes">{"".join(notes)}</ol>'


def _read_csv(path, names):
    table = pd.read_csv(io.BytesIO(_read(path)))
    if not set(names) <= set(table):
        raise UserError(f"{path}: needs the columns {', '.join(names)}; run the stage that writes it again")
    return {name: table[name].to_numpy(dtype=float) for name in names}


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run the stage that writes it again"
        ) from error
