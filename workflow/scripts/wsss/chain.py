"""What the stages of a recipe rest on, through `from`, `labels_from` and `aux_from`, up to what is imported."""

from wsss.config import Config
from wsss.errors import UserError
from wsss.refinement import WALKS

Link = tuple[str, str]  # recipe, stage


def behind(config: Config, name: str, dataset: str, stage: str) -> set[Link]:
    """All (recipe, stage) that `stage` of recipe `name` rests on, itself included; an imported one rests on nothing."""
    found: set[Link] = set()
    waiting = [(name, stage)]
    while waiting:
        asked, what = waiting.pop()
        link = config.owner(asked, dataset, what), what
        if link not in found:
            found.add(link)
            waiting += reads(config.recipe(link[0], dataset), link)
    return found


def refuse_circle(config: Config, name: str, dataset: str, stage: str, key: str) -> None:
    """UserError where the recipe that `key` of a stage names learns from that very stage itself."""
    other = config.recipe(name, dataset)[stage].get(key)
    if other and (name, stage) in behind(config, other, dataset, "ir_labels"):
        raise UserError(f"config/methods/{name}.yaml: {stage}.{key}: the labels of {other} are made with this {stage} itself, a circle; name another recipe")


def imports_behind(config: Config, name: str, dataset: str, stage: str) -> dict[str, str]:
    """Stage -> name of its import, of all that `stage` of a recipe rests on."""
    links = sorted(behind(config, name, dataset, stage))
    sections = {what: config.recipe(owner, dataset).get(what, {}) for owner, what in links}
    return {what: section["import"] for what, section in sections.items() if "import" in section}


def reads(recipe: dict, link: Link) -> list[Link]:
    """What a stage reads beside the dataset."""
    name, stage = link
    section, refine = recipe.get(stage, {}), recipe["refine"]
    if "import" in section:
        return []
    if stage in ("classifier", "cam"):
        other = section.get({"classifier": "labels_from", "cam": "aux_from"}[stage])
        return [(name, "classifier")] * (stage == "cam") + ([(other, "ir_labels")] if other else [])
    if stage == "affinity":
        labels = "seeds" if refine == "affinitynet" else "ir_labels"
        return [(name, labels)] + [(name, "classifier")] * (section["trunk"] == "classifier")
    if stage == "pseudo_masks":
        return [(name, before) for before in _masks_from(refine)]
    if stage == "segmentation" and section["labels"] == "ground_truth":
        return []
    return [(name, before) for before in BEFORE[stage]]


BEFORE = {"seeds": ("cam",), "ir_labels": ("seeds",), "segmentation": ("pseudo_masks",), "predictions": ("segmentation",)}


def _masks_from(refine: str) -> tuple[str, ...]:
    if refine in WALKS:
        return "cam", "affinity"
    return ("seeds",) if refine == "crf" else ("cam",)
