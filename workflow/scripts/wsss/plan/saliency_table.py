"""The table of methods against saliency sources. A source is a dataset file that differs from the others in its maps alone."""

from typing import TYPE_CHECKING, Any

from wsss.errors import UserError
from wsss.plan import pages, saliency
from wsss.plan.data import has_ground_truth

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

HOW = "snakemake results/saliency_table.md --config 'datasets=[voc12, voc12_pfan]' 'methods=[eps]' (docs/saliency.md)"


def scores(plan: "Plan", _: None) -> dict[str, dict[str, str]]:
    """Dataset file -> row -> its scores, of the rows of config.yaml that learn from saliency maps."""
    return {
        dataset: {row.method: f"{row.folder}/scores.json" for row in pages.rows(plan, dataset) if saliency.learned_from(plan, row)}
        for dataset in plan.main["datasets"]
    }


def inputs(plan: "Plan", _: None) -> dict[str, Any]:
    """The scores of all these rows."""
    return {"files": [path for rows in scores(plan, _).values() for path in rows.values()]}


def sources(plan: "Plan", _: None) -> dict[str, str]:
    """Dataset file -> where its maps come from, in words."""
    makes = {dataset: saliency.how_made(plan, dataset) for dataset in plan.main["datasets"]}
    return {dataset: f"made by {made['make']}" if made else "given" for dataset, made in makes.items()}


def refuse(plan: "Plan", _: None) -> None:
    """UserError where there is nothing to compare, or more would differ than the maps."""
    names = plan.main["datasets"]
    if len(names) < 2:
        raise UserError(f"saliency_table: `datasets` names {names[0]} only; name a dataset file for each source: {HOW}")
    if not any(scores(plan, _).values()):
        raise UserError(f"saliency_table: none of `methods` ({', '.join(plan.main['methods'])}) learns from saliency maps; name some: {HOW}")
    first, *others = (_without_maps(plan.config.dataset(name)) for name in names)
    for name, other in zip(names[1:], others, strict=True):
        if differing := sorted(key for key in {*first, *other} if first.get(key) != other.get(key)):
            raise UserError(
                f"saliency_table: config/datasets/{names[0]}.yaml and {name}.yaml differ in {', '.join(differing)}; "
                "files of one table may differ in `saliency` and `params.saliency` only"
            )
    for name in names:
        if not has_ground_truth(plan, name):
            raise UserError(f"saliency_table: {name} has no ground-truth masks, so there are no scores")


def _without_maps(spec: dict[str, Any]) -> dict[str, Any]:
    """Key -> value of a dataset file, those of its params as `params.NAME`, all that may not differ."""
    params = {f"params.{key}": value for key, value in spec["params"].items() if key != "saliency"}
    return {**{key: value for key, value in spec.items() if key not in ("saliency", "params", "test")}, **params}
