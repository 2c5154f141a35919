"""What evaluation reads of a row, and what it is told about where the scores come from."""

from typing import TYPE_CHECKING, Any

from wsss.errors import UserError
from wsss.found import FOUND
from wsss.plan import paths, saliency, shared
from wsss.plan.data import has_ground_truth
from wsss.plan.imported_stages import described
from wsss.plan.read import THRESHOLD, Read
from wsss.plan.row import Row
from wsss.plan.segmentation import is_full
from wsss.recipes.refinement import WALKS

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


def _stages_behind(plan: "Plan", row: Row) -> set[str]:
    """The stages that run, or are imported, on the way to the row's predictions."""
    return {stage for _, stage in plan.behind(row, "predictions")}


def made(plan: "Plan", row: Row) -> list[str]:
    """The stages whose images of the row can be scored; behind an import there is nothing to score."""
    if is_full(plan, row):
        names = ["predictions"]
    else:
        seeds = [] if shared.refine(plan, row) == "none" else ["seeds"]
        names = ["cam", *seeds, "pseudo_masks", "predictions"]
    if plan.imports_behind(row):
        names = [name for name in names if name in {*_stages_behind(plan, row), "predictions"}]
    return names


def networks(plan: "Plan", row: Row) -> dict[str, Row]:
    """Stage of each network behind the scores -> the row that trains it."""
    if is_full(plan, row):
        return {"segmentation": plan.owner(row, "segmentation")}
    walker = plan.owner(row, "pseudo_masks")
    walk = {"affinity": plan.owner(walker, "affinity")} if shared.refine(plan, walker) in WALKS else {}
    found = {"classifier": plan.owner(row, "classifier"), **walk, "segmentation": plan.owner(row, "segmentation")}
    imports = plan.imports_behind(row)
    if not imports:
        return found
    unknown = {"classifier"} if "cam" in imports else set()  # what made imported CAMs
    return {name: owner for name, owner in found.items() if name in _stages_behind(plan, row) - unknown}


def reads(plan: "Plan", row: Row) -> list[Read]:
    """All that the row made of images, the networks behind it, and the cut of its CAMs where scores take it."""
    models = [Read(name, name, paths.MODEL, owner.recipe) for name, owner in networks(plan, row).items()]
    return [*made_reads(plan, row), *models]


def made_reads(plan: "Plan", row: Row) -> list[Read]:
    """All that the row made of images, and the cut of its CAMs where scores take it."""
    is_cut = "cam" in made(plan, row) and plan.section(row, "evaluation")["policy"] == FOUND
    return [*(Read(name, name) for name in made(plan, row)), *([THRESHOLD] if is_cut else [])]


def reads_without_segmentation(plan: "Plan", row: Row) -> list[Read]:
    """`reads`, without all that stands on a segmentation network."""
    return [read for read in reads(plan, row) if read.name not in ("predictions", "segmentation")]


def refuse(plan: "Plan", row: Row) -> None:
    """UserError where there is nothing to score, or nothing to score it with."""
    plan.recipe(row)  # a name that is no method's ends here
    instead = f"ask for {row.folder}/predictions/{paths.INDEX}"
    if not has_ground_truth(plan, row.dataset):
        raise UserError(f"{row.dataset} has no ground-truth masks, so there is no mIoU; {instead}")
    if "cam" not in made(plan, row) and not has_ground_truth(plan, row.dataset, "val"):
        raise UserError(
            f"{row.dataset} has no val images with masks, and {row.method} makes nothing else that could be scored; "
            f"{instead}, or leave {row.method} out of `methods`"
        )


def refuse_mask_scores(plan: "Plan", row: Row) -> None:
    """The same where predictions are not scored."""
    if not has_ground_truth(plan, row.dataset):
        refuse(plan, row)
    if made(plan, row) == ["predictions"]:
        raise UserError(f"{row.method} makes no masks of training images; ask for {row.folder}/miou.txt")


# --- what is told


def supervision(plan: "Plan", row: Row) -> str:
    """What the row learns from, as far as it is known here."""
    imported = sorted(plan.imports_behind(row))
    unknown = f", and whatever the imported {', '.join(imported)} learnt from" if imported else ""
    return f"{_own_supervision(plan, row)}{unknown}"


def _own_supervision(plan: "Plan", row: Row) -> str:
    if is_full(plan, row):
        return "ground-truth masks (full supervision)"
    if not saliency.learned_from(plan, row):
        return "image labels"
    settings = saliency.how_made(plan, row.dataset)
    source = f"made by {settings['make']}" if settings else "given"
    return f"image labels + saliency maps ({source})"


def imported(plan: "Plan", row: Row) -> dict[str, str]:
    """Index that is scored -> what is imported behind it, in words."""
    behind = {name: plan.imports_behind(row, name) for name in made(plan, row)}
    return {
        name: "; ".join(described(row.dataset, source, stage) for stage, sources in imports.items() for source in sources)
        for name, imports in behind.items()
        if imports
    }


def backbones(plan: "Plan", row: Row) -> dict[str, str]:
    """Trunk of each network behind the scores; of the classifier with the numbers of networks, where CAMs average several."""
    found = {
        name: plan.recipe(owner).get(name, {}).get("backbone", plan.recipe(owner)["backbone"])
        for name, owner in networks(plan, row).items()
        if not (name == "affinity" and plan.is_imported(owner, name))
    }
    cams = (owner for owner, stage in plan.behind(row, "predictions") if stage == "cam")
    averaged = {owner.recipe: plan.section(owner, "cam").get("networks", 1) for owner in cams}
    words = ", ".join(f"{number} networks of {recipe}" for recipe, number in averaged.items() if number > 1)
    return found | ({"classifier": f"{found['classifier']} ({words})"} if words and "classifier" in found else {})


def refine(plan: "Plan", row: Row) -> str:
    """What made the pseudo-masks."""
    owner = plan.owner(row, "pseudo_masks")
    return "imported" if plan.is_imported(owner, "pseudo_masks") else shared.refine(plan, owner)


def test_scales(plan: "Plan", row: Row) -> dict[str, Any]:
    """Scales of the predictions, and whether mirror images are predicted too."""
    settings = plan.section(row, "predictions")
    return {"scales": settings["scales"], "flip": settings["flip"]}
