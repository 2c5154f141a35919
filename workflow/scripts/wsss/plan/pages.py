"""What the pages and the diagnosis of a row, and the report of a dataset, read and are given."""

from typing import TYPE_CHECKING, Any

from wsss.errors import UserError
from wsss.plan import paths, scores, shared
from wsss.plan.data import has_ground_truth
from wsss.plan.read import IR_LABELS, Read
from wsss.plan.row import Row
from wsss.report.template_version import template_version

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


def panels_reads(plan: "Plan", row: Row) -> list[Read]:
    """All that the row made of images, IR labels among it."""
    has_both_seeds = "seeds" in scores.made(plan, row) and "import" not in plan.section(row, "seeds")
    has_labels = has_both_seeds or "ir_labels" in plan.imports_behind(row)
    return [*scores.made_reads(plan, row), *([IR_LABELS] if has_labels else [])]


def diagnosis_reads(plan: "Plan", row: Row) -> list[Read]:
    """The same, and the check of every classifier that the row rests on, of further networks too; an imported one has none."""
    owners = {owner for owner, stage in plan.behind(row, "predictions") if stage == "classifier"}
    trained = sorted((owner.recipe, owner.net) for owner in owners if not plan.is_imported(owner, "classifier"))
    checks = [Read(f"check{net}_{recipe}", "classifier", "check.json", recipe, net) for recipe, net in trained]
    return [*panels_reads(plan, row), *checks]


def diagnosis_files(plan: "Plan", row: Row) -> dict[str, str]:
    """Digest of the masks by which the labels that a wrapper taught were counted, where the row rests on one."""
    is_wrapped = any("wrap" in plan.recipe(owner) for owner, stage in plan.behind(row, "predictions") if stage == "classifier")
    return shared.digests("masks_train")(plan, row) if is_wrapped else {}


def panel_count(plan: "Plan", row: Row) -> int:
    """Images shown for each method."""
    return plan.main["report"]["panels"]


def panels_inputs(plan: "Plan", row: Row) -> dict[str, str]:
    """Counts of single images, which say where the first method of config.yaml is worst and best: all its methods show the same images.

    A row that is not in the report shows what is evenly spaced, so that nothing more is made for it.
    """
    in_report = row.recipe in plan.main["methods"] and has_ground_truth(plan, row.dataset)
    return {"per_image": f"{row.other(plan.main['methods'][0]).folder}/per_image.csv"} if in_report else {}


# --- the report, which is about a dataset


def rows(plan: "Plan", dataset: str) -> list[Row]:
    """The rows of a dataset's report: each configured method with each seed."""
    return [Row(dataset, recipe, seed) for seed in plan.main["seeds"] for recipe in plan.main["methods"]]


def report_inputs(plan: "Plan", dataset: str) -> dict[str, Any]:
    """The dataset, and the scores, curves, pictures and histories of every row."""
    files = [path for row in rows(plan, dataset) for path in _report_files(plan, row)]
    return {**paths.dataset_files(dataset), "files": files}


def _report_files(plan: "Plan", row: Row) -> list[str]:
    scored = [f"{row.folder}/{name}" for name in ("scores.json", "sweep.csv", "per_image.csv") if has_ground_truth(plan, row.dataset)]
    return [*scored, f"{row.folder}/diagnosis.json", *_panels(plan, row).values(), *_histories(plan, row).values()]


def report_methods(plan: "Plan", dataset: str) -> list[dict[str, Any]]:
    """What the report is told of each row."""
    return [
        {
            "name": row.method,
            "folder": row.folder,
            "scored": has_ground_truth(plan, dataset),
            "history": _histories(plan, row),
            "chain": _chain(plan, row),
            **_panels(plan, row),
        }
        for row in rows(plan, dataset)
    ]


def table_scores(plan: "Plan", dataset: str) -> dict[str, str]:
    """Row -> its scores, of the table in the shape of papers."""
    return {row.method: f"{row.folder}/scores.json" for row in rows(plan, dataset)}


def table_inputs(plan: "Plan", dataset: str) -> dict[str, Any]:
    """The scores of every row."""
    return {"files": list(table_scores(plan, dataset).values())}


def table_refuse(plan: "Plan", dataset: str) -> None:
    """UserError where nothing can be scored."""
    if not has_ground_truth(plan, dataset):
        raise UserError(f"{dataset} has no ground-truth masks, so there is no table of scores; ask for results/{dataset}/report/index.html")


def templates(plan: "Plan", dataset: str) -> str:
    """Changes with the pages' templates, which no code digest covers."""
    return template_version()


def _chain(plan: "Plan", row: Row) -> list[dict[str, str]]:
    """The stages that ran on the way to the row's predictions, for the table of costs: where their files and logs lie."""
    order = plan.chain_stages
    ran = [(owner, stage) for owner, stage in plan.behind(row, "predictions") if not plan.is_imported(owner, stage)]
    return [
        {
            "stage": stage,
            "method": owner.method,
            "folder": f"{owner.folder}/{stage}",
            "log": f"logs/{owner.dataset}/{owner.method}/{stage}.tsv",
        }
        for owner, stage in sorted(ran, key=lambda link: (order.index(link[1]), link[0].method))
    ]


def _panels(plan: "Plan", row: Row) -> dict[str, str]:
    """Pictures are shown of the first seed of a method."""
    is_first = row.seed == min(plan.main["seeds"])
    return {"panels": f"{row.folder}/panels/{paths.INDEX}"} if is_first else {}


def _histories(plan: "Plan", row: Row) -> dict[str, str]:
    """Training histories of a row, its own and those it takes from other recipes; an imported model has none."""
    return {
        name: plan.artefact(owner, name, "history.csv")
        for name, owner in scores.networks(plan, row).items()
        if not plan.is_imported(owner, name)
    }
