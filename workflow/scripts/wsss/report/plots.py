"""Plots as SVG; equal figures give equal files (no dates, fixed element ids)."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from wsss.engine.atomic import write_bytes
from wsss.report.repeats import Spread

# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4B5563", "#B8A800"]
# Columns of a wrapped classifier's history.
SHARES = {"confident": "confident", "confident_fg": "confident foreground", "ring": "ring", "expanded": "learned"}
MOST_WRITTEN = 22  # labels of a matrix whose figures are written into it
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "wsss",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": "#9CA3AF",
    "axes.labelcolor": "#374151",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E5E7EB",
    "xtick.color": "#4B5563",
    "ytick.color": "#4B5563",
    "legend.frameon": False,
}


def curves(path, sweeps: dict) -> None:
    """mIoU against the threshold, all methods in one plot: a dot marks the best value, a ring the fixed one.

    sweeps: {method: {"threshold": (T,), "miou": (T,), "fixed": value or None}}, figures in percent; with "std" (T,) and
    "n" the curve is a mean over n seeds and has a band of one standard deviation. Values of different kinds of
    background (thresholds, alphas) get an axis each. Without any sweep the axes are empty.
    """
    kinds = sorted({sweep.get("kind", "const") for sweep in sweeps.values()}) or ["const"]
    with _figure(path, max(1, len(kinds)), (7.2, 4.2)) as axes:
        for kind, axis in zip(kinds, axes, strict=True):
            axis.set(xlabel="threshold" if kind == "const" else "alpha", ylabel="mIoU of the seed (%)")
            if kind == "power":
                axis.set_xscale("log")  # alphas from 0.002 to 458 cut at 0.99 to 0.01
            for i, (name, sweep) in enumerate(sweeps.items()):
                if sweep.get("kind", "const") == kind:
                    _curve(axis, name, sweep, COLOURS[i % len(COLOURS)])
            axis.plot([], [], "o", color="#6B7280", label="best (uses ground truth)")
            axis.plot([], [], "o", color="#6B7280", markerfacecolor="white", label="fixed (published)")
            axis.legend(fontsize=9)


def per_class(path, classes, scores: dict) -> None:
    """IoU per class as bars, methods side by side; scores: {method: {class: Spread or None}}, with its std as whisker."""
    names = ["background", *classes]
    width = 0.84 / max(1, len(scores))
    size = (max(7.2, 1.6 + 0.13 * len(names) * max(2, len(scores))), 4.0)
    with _figure(path, 1, size) as (axis,):
        for i, (method, values) in enumerate(scores.items()):
            found = [values.get(c) or Spread(0.0, None, 0) for c in names]
            heights, errors = [s.mean for s in found], [s.std or 0.0 for s in found]
            places = np.arange(len(names)) + (i - (len(scores) - 1) / 2) * width
            axis.bar(places, heights, width * 0.92, color=COLOURS[i % len(COLOURS)], label=method)
            if any(errors):
                axis.errorbar(places, heights, errors, fmt="none", ecolor="#374151", elinewidth=0.9)
        axis.set(ylabel="IoU (%)", ylim=(0, 100), xlim=(-0.7, len(names) - 0.3))
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axis.grid(axis="x", visible=False)
        if scores:
            axis.legend(ncols=len(scores), loc="lower left", bbox_to_anchor=(0, 1.0))


def training(path, histories: dict, notes: dict | None = None) -> None:
    """Training loss per step, one small plot per stage, one line per seed of a method (running mean over raw values).

    histories: {stage: {method: [{"step": (S,), "total": (S,)} per seed]}}; notes: {stage: {method: words in the legend}}.
    """
    with _figure(path, max(1, len(histories)), (4.2, 3.2)) as axes:
        methods = list(dict.fromkeys(m for runs in histories.values() for m in runs))
        for axis, (stage, runs) in zip(axes, histories.items(), strict=False):
            axis.set(title=stage, xlabel="step", ylabel="loss")
            for method, seeds in runs.items():
                for number, run in enumerate(seeds):
                    colour = COLOURS[methods.index(method) % len(COLOURS)]
                    words = (notes or {}).get(stage, {}).get(method)
                    label = f"{method}, {words}" if words else method
                    _loss(axis, run, colour, None if number else label, 1.6 / len(seeds) ** 0.5)
            axis.legend(fontsize=9)


def matrix(path, labels, conf) -> None:
    """Confusion matrix (n, m) as shares of the pixels of each true label, in percent; labels: m names, of the columns."""
    whole = np.maximum(conf.sum(axis=1, keepdims=True), 1)
    share, size = 100.0 * conf / whole, 2.6 + 0.3 * len(labels)
    with _figure(path, 1, (size + 1.0, size)) as (axis,):
        shown = axis.imshow(share, vmin=0, vmax=100, cmap="Blues")
        axis.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
        axis.set_yticks(range(len(conf)), labels[: len(conf)], fontsize=8)
        axis.set(xlabel="predicted", ylabel="ground truth")
        axis.grid(visible=False)
        if len(labels) <= MOST_WRITTEN:
            for (row, column), value in np.ndenumerate(share):
                if value >= 0.5:
                    ink = "white" if value > 55 else "#1F2937"
                    axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=ink)
        axis.figure.colorbar(shown, ax=axis, label="% of the pixels of the row", shrink=0.8)


def shares(path, runs: dict) -> None:
    """Parts of the cells that a wrapped classifier learns from its teacher, per step: a small plot a kind.

    runs: {method: [{"step": (S,), and (S,) for each of SHARES} per seed]}.
    """
    with _figure(path, len(SHARES), (3.2, 2.8)) as axes:
        for axis, (name, title) in zip(axes, SHARES.items(), strict=True):
            axis.set(title=title, xlabel="step", ylabel="% of cells")
            for i, (method, seeds) in enumerate(runs.items()):
                for number, run in enumerate(seeds):
                    label = None if number else method
                    axis.plot(run["step"], 100 * smooth(run[name]), color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=label)
            axis.legend(fontsize=8)


def _loss(axis, run, colour, label, width):
    there = np.isfinite(run["total"])
    step, loss = np.asarray(run["step"])[there], np.asarray(run["total"])[there]
    axis.plot(step, loss, color=colour, alpha=0.22, linewidth=0.8 * width / 1.6)
    axis.plot(step, smooth(loss), color=colour, linewidth=width, label=label)


def smooth(values) -> np.ndarray:
    """Centred running mean over about a twentieth of the run, shorter windows at the ends; length is kept."""
    values = np.asarray(values, dtype=float)
    total = np.concatenate([[0.0], np.cumsum(values)])
    reach = len(values) // 40
    low = np.maximum(np.arange(len(values)) - reach, 0)
    high = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _curve(axis, name, sweep, colour):
    value, miou = np.asarray(sweep["threshold"], float), np.asarray(sweep["miou"], float)
    label = f"{name} (n = {sweep['n']})" if sweep.get("n") else name
    axis.plot(value, miou, color=colour, linewidth=1.8, label=label)
    if sweep.get("std") is not None:
        axis.fill_between(value, miou - sweep["std"], miou + sweep["std"], color=colour, alpha=0.2, linewidth=0)
    if not np.isfinite(miou).any():
        return
    best = int(np.nanargmax(miou))
    axis.plot(value[best], miou[best], "o", color=colour)
    if sweep.get("fixed") is not None:
        at = int(np.abs(value - sweep["fixed"]).argmin())
        axis.plot(value[at], miou[at], "o", color=colour, markerfacecolor="white", markersize=7)


def _has_other_letters(figure: Figure) -> bool:
    """Whether a text has letters that the font lacks: names of classes in Chinese, an emoji."""
    letters = {ord(letter) for text in figure.findobj(Text) for letter in text.get_text() if letter.isprintable()}
    font = get_font(findfont(STYLE["font.family"]))
    return any(font.get_char_index(letter) == 0 for letter in letters)


@contextlib.contextmanager
def _figure(path, columns, size):
    """Axes, side by side, of a figure that is written to `path` as SVG when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((size[0] * columns, size[1]), layout="constrained")
        yield list(figure.subplots(1, columns, squeeze=False).flat)
        data = io.BytesIO()
        if _has_other_letters(figure):
            matplotlib.rcParams["svg.fonttype"] = "none"  # the browser has fonts for them
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # measured as a box, shown as what it is
            # tight: a legend wider than its axes would be cut off
            figure.savefig(data, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None, "Creator": None})
    write_bytes(Path(path), data.getvalue())
