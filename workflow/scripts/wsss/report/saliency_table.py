"""Methods that learn from saliency maps, against where the maps come from: Markdown and LaTeX."""

from typing import Any

from wsss.report.paper import SEGMENTATIONS, cuts, latex, markdown, mean_of, repeats, splits
from wsss.report.tables import Method, group

FIGURES = {"seed": ("seed",), "refined": ("refined_seed",), "mask": ("pseudo_mask",), "val": SEGMENTATIONS}


def saliency_table(sources: dict[str, str], scores: dict[str, dict[str, dict[str, Any]]]) -> tuple[str, str]:
    """(Markdown, LaTeX): a row a method and figure, a column a source.

    sources: dataset file -> where its maps come from, in words; scores: dataset file -> run name -> content of scores.json.
    """
    found = {name: {method.name: method for method in group(runs)} for name, runs in scores.items()}
    names = dict.fromkeys(method for methods in found.values() for method in methods)
    head = ["method", "figure", *(f"{name} ({sources[name]})" for name in found)]
    rows = [[name, figure, *cells] for name in names for figure, cells in _cells([methods[name] for methods in found.values()])]
    methods = [method for of in found.values() for method in of.values()]
    note = f"mIoU in percent: {splits(methods)}. Refined: the seed after its CRF; val: the last stage there is. The columns differ in the saliency maps alone.{cuts(methods)}{repeats(methods)}"
    return markdown(head, rows, 2, note), latex(head, rows, 2, note)


def _cells(methods: list[Method]) -> list[tuple[str, list[str]]]:
    """(figure, its cell for each source) of one method, of the figures that some source has."""
    cells = [(figure, [mean_of(method, *stages) for method in methods]) for figure, stages in FIGURES.items()]
    return [(figure, found) for figure, found in cells if any(found)]
