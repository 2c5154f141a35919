"""The table of methods in the shape papers print it: Markdown and LaTeX (booktabs, \\checkmark of amssymb)."""

from collections.abc import Callable, Iterable
from typing import Any

from wsss.errors import UserError
from wsss.report.repeats import Spread, spread
from wsss.report.stage_tables import stages_of
from wsss.report.tables import REPEATS, Method, group
from wsss.score.write import plain_words

HEAD = ["method", "sup.", "backbone", "initial weights", "seed", "refined", "mask", "val", "test", "multi-scale", "CRF"]
WORDS = 4  # columns of words; the others are figures and ticks
SUPERVISION = {"image labels": "I", "saliency maps": "S", "ground-truth masks": "F"}  # I: image labels, S: saliency, F: full
LEGEND = "I: image labels, S: saliency maps, F: ground-truth masks, ?: whatever something imported learnt from"
POLICIES = {
    "fixed": "at the recipe's threshold",
    "found": "at a threshold found without ground truth",
    "best_on_train_gt": "at the best threshold on the scored images, which uses ground truth",
    "map": "by the method's own background map",
}
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
FIGURE_OF = {"seed": "seed", "refined_seed": "refined", "pseudo_mask": "mask", **dict.fromkeys(SEGMENTATIONS, "val")}  # stage -> column


def supervision(words: str) -> str:
    """`image labels + saliency maps (given)` -> `I+S`."""
    found = [letter for source, letter in SUPERVISION.items() if source in words]
    return "+".join([*found, *(["?"] if "imported" in words else [])])


def _sources(method: Method) -> list[dict[str, Any]]:
    """Provenance of the first seed's stages, in the chain's order."""
    return [block.get("provenance", {}) for _, block in stages_of(method)]


def _is_multi_scale(provenance: dict[str, Any]) -> bool:
    """Whether the last stage saw more than one scale: `0.5, 1.0, with mirror images`."""
    return len([part for part in str(provenance.get("multi_scale", "")).split(", ") if part[:1].isdigit()]) > 1


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
    return (
        f"mIoU in percent on {dataset}: {splits(methods)}. {LEGEND}. CRF and multi-scale: of the last stage there is. "
        f"Refined: the seed after its CRF. Test is left empty for the figure of a test server.{cuts(methods)}{repeats(methods)}"
    )


def splits(methods: Iterable[Method]) -> str:
    """Which images the figures are of: `seed, refined, mask on train (1464 images), val on val (1449 images)`."""
    found: dict[str, set[str]] = {}
    for method in methods:
        for stage, block in stages_of(method):
            if split := block.get("provenance", {}).get("split"):
                found.setdefault(str(plain_words(split)), set()).add(FIGURE_OF[stage])
    order = list(dict.fromkeys(FIGURE_OF.values()))
    return ", ".join(f"{', '.join(sorted(figures, key=order.index))} on {split}" for split, figures in found.items())


def cuts(methods: Iterable[Method]) -> str:
    """A sentence on how the seeds are cut, and of which methods; empty without seeds."""
    policies: dict[str, dict[str, None]] = {}
    for method in methods:
        if policy := method.runs[0]["stages"].get("seed", {}).get("provenance", {}).get("threshold_policy"):
            policies.setdefault(policy, {})[method.name] = None
    named = "; ".join(f"{POLICIES.get(policy, policy)} ({', '.join(names)})" for policy, names in policies.items())
    return f" Seeds are cut {named}." if named else ""


def repeats(methods: Iterable[Method]) -> str:
    """A sentence on several seeds and how many each method has; empty where none has several."""
    numbers: dict[str, int] = {}
    for method in methods:
        numbers[method.name] = max(len(method.runs), numbers.get(method.name, 0))
    if max(numbers.values(), default=0) < 2:
        return ""
    different = ", ".join(f"{number} of {name}" for name, number in numbers.items())
    return f" Figures are {REPEATS}, n being {different if len(set(numbers.values())) > 1 else max(numbers.values())}."


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
