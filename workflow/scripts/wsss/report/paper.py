"""The table of methods in the shape papers print it: Markdown and LaTeX (booktabs, \\checkmark of amssymb)."""

from collections.abc import Callable, Iterable
from typing import Any

from wsss.errors import UserError
from wsss.report.repeats import Spread, spread
from wsss.report.tables import REPEATS, Method, group
from wsss.score.write import plain_words

HEAD = ["method", "sup.", "backbone", "initial weights", "seed", "refined", "mask", "val", "test", "multi-scale", "CRF"]
WORDS = 4  # columns of words; the others are figures and ticks
SUPERVISION = {"image labels": "I", "saliency maps": "S", "ground-truth masks": "F"}  # I: image labels, S: saliency, F: full
LEGEND = "I: image labels, S: saliency maps, F: ground-truth masks, ?: whatever something imported learnt from"
TICK, SPECIAL = "✓", {**{c: f"\\{c}" for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def table(dataset: str, scores: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """(Markdown, LaTeX) of {run name: content of scores.json}; `test` is empty: the VOC server fills it.

    Raises:
        UserError: there is no method, or none has a score.
    """
    methods = [method for method in group(scores) if method.runs[0]["stages"]]
    if not methods:
        raise UserError(f"{dataset}: no method has scores, so there is no table; name some in `methods` of config/config.yaml")
    rows, note = [_row(method) for method in methods], _note(dataset, methods)
    return markdown(HEAD, rows, WORDS, note), latex(HEAD, rows, WORDS, note)


def _row(method: Method) -> list[str]:
    seed, refined, mask = (mean_of(method, stage) for stage in ("seed", "refined_seed", "pseudo_mask"))
    sources = _sources(method)
    last = sources[-1]
    backbones = dict.fromkeys(str(source["backbone"]) for source in sources if source.get("backbone"))
    ticks = [TICK if used else "" for used in (_is_multi_scale(last), last.get("crf") is True)]
    words = [method.name, supervision(str(last.get("supervision", ""))), " / ".join(backbones), str(last.get("weights", ""))]
    return [*words, seed, refined, mask, mean_of(method, *SEGMENTATIONS), "", *ticks]


SEGMENTATIONS = ("segmentation_crf", "segmentation")  # the first of them that there is


def supervision(words: str) -> str:
    """`image labels + saliency maps (given)` -> `I+S`."""
    found = [letter for source, letter in SUPERVISION.items() if source in words]
    return "+".join([*found, *(["?"] if "imported" in words else [])])


def _sources(method: Method) -> list[dict[str, Any]]:
    """Provenance of the first seed's stages, in the chain's order."""
    return [block.get("provenance", {}) for block in method.runs[0]["stages"].values()]


def _is_multi_scale(provenance: dict[str, Any]) -> bool:
    """Whether the last stage saw more than one scale: a list of CAMs' scales, or predictions' in words: `[0.5, 1.0], flipped too`."""
    scales = provenance.get("multi_scale", "")
    return "," in str(scales).split("]")[0]


def mean_of(method: Method, *stages: str) -> str:
    """mIoU of the first of the stages that there is, over the seeds."""
    found = next((stage for stage in stages if stage in method.runs[0]["stages"]), None)
    return _words(spread(run["stages"].get(found, {}).get("miou") for run in method.runs)) if found else ""


def _words(found: Spread | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:.1f}" if found.std is None else f"{found.mean:.1f} ± {found.std:.1f}"


def _note(dataset: str, methods: list[Method]) -> str:
    """What the figures are, in sentences."""
    first = [method.runs[0]["stages"] for method in methods]
    seeds = [(method.name, stages["seed"]["provenance"]) for method, stages in zip(methods, first, strict=True) if "seed" in stages]
    policies = dict.fromkeys(source.get("threshold_policy") for _, source in seeds)
    by_policy = [f"{policy} ({', '.join(name for name, source in seeds if source.get('threshold_policy') == policy)})" for policy in policies]
    cut = f" Seeds are cut by the threshold policy {'; '.join(by_policy)}." if seeds else ""
    splits = dict.fromkeys(str(plain_words(source["split"])) for method in methods for source in _sources(method) if "split" in source)
    several = f" Figures are {REPEATS}." if any(len(method.runs) > 1 for method in methods) else ""
    return f"mIoU in percent on {dataset}: {', '.join(splits)}. {LEGEND}. CRF and multi-scale: of the last stage there is. Test is left for the VOC server's figure.{cut}{several}"


def markdown(head: list[str], rows: list[list[str]], words: int, note: str) -> str:
    """A Markdown table, its first `words` columns to the left, and a note below."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{note}\n"


def latex(head: list[str], rows: list[list[str]], words: int, note: str) -> str:
    """The same as a LaTeX tabular; the note is a comment."""
    lines = [
        "% \\usepackage{booktabs,amssymb}",
        f"\\begin{{tabular}}{{{'l' * words}{'c' * (len(head) - words)}}}",
        "\\toprule",
        _line(head, escaped),
        "\\midrule",
        *(_line(row, _latex_cell) for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
        f"% {note}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str], form: Callable[[str], str]) -> str:
    return " & ".join(map(form, cells)) + r" \\"


def _latex_cell(text: str) -> str:
    return r"$\checkmark$" if text == TICK else escaped(text).replace("±", r"$\pm$")


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)
