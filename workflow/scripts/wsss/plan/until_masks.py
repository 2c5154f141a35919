"""What the stages from the classifier to the pseudo-masks read and are given."""

from typing import TYPE_CHECKING, Any

from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.found import CUT_AFTER, MAP, NO_CUT, NOT_FILLED, is_found, seed_rule
from wsss.plan import saliency, shared
from wsss.plan.chain import refuse_circle
from wsss.plan.imported_stages import refuse_imported_seeds, require_settings
from wsss.plan.paths import MODEL
from wsss.plan.read import CAM, IR_LABELS, SEEDS, THRESHOLD, Read
from wsss.plan.row import Row
from wsss.recipes.net_options import has_bg_map
from wsss.recipes.refinement import NETWORK, WALKS, require_probabilities, require_same_walk
from wsss.sections.background import Background
from wsss.sections.evaluation import Evaluation
from wsss.sections.pseudo_masks import of_refine
from wsss.sections.section import plain, typed

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

# --- classifier and CAM


def classifier_weights(plan: "Plan", row: Row) -> dict[str, str]:
    """ImageNet weights of the recipe's backbone."""
    return shared.trunk_weights(plan, row, plan.recipe(row)["backbone"])


def classifier_reads(plan: "Plan", row: Row) -> list[Read]:
    """Labels of pixels, where the net learns from those of another recipe (AMN)."""
    other = plan.recipe(row)["classifier"].get("labels_from")
    return [IR_LABELS._replace(of=other)] if other else []


def refuse_classifier(plan: "Plan", row: Row) -> None:
    """UserError where a network would learn from labels made with itself, or no CAM averages this further network."""
    refuse_circle("classifier", "labels_from")(plan, row)
    if row.net > 1 and not any(_averages(plan, row.other(recipe), row) for recipe in plan.config.names("methods")):
        raise UserError(f"{row.method}: no recipe averages so many networks of {row.recipe} on {row.dataset} (cam.networks); ask for {row.recipe}")


def _averages(plan: "Plan", reader: Row, network: Row) -> bool:
    """Whether the CAMs of `reader` are made with `network`; those of a recipe that is wrong are not."""
    try:
        is_own = "cam" in plan.recipe(reader) and plan.owner(reader, "cam") == reader and not plan.is_imported(reader, "cam")
        return is_own and plan.owner(reader, "classifier") == network and network.net <= plan.recipe(reader)["cam"].get("networks", 1)
    except UserError:
        return False


def cam_reads(plan: "Plan", row: Row) -> list[Read]:
    """The trained networks, and another recipe's labels where a cam conditions on them."""
    cam = plan.recipe(row)["cam"]
    other, first = cam.get("aux_from"), Read("model", "classifier", MODEL)
    further = [first._replace(name=f"model_{net}", net=net) for net in range(2, cam.get("networks", 1) + 1)]
    return [first, *further, *([IR_LABELS._replace(of=other)] if other else [])]


def cam_settings(plan: "Plan", row: Row) -> dict[str, Any]:
    """The section without `networks`, which the models among the inputs say."""
    return {key: value for key, value in plan.own_section(row, "cam").items() if key != "networks"}


def refuse_cam(plan: "Plan", row: Row) -> None:
    """UserError where the CAMs condition on labels made of themselves, or several networks are asked of an imported one."""
    refuse_circle("cam", "aux_from")(plan, row)
    if plan.own_section(row, "cam").get("networks", 1) > 1 and plan.is_imported(row, "classifier"):
        raise UserError(f"{row.file}: cam.networks: the imported classifier is one network; leave cam.networks out")


def threshold_reads(plan: "Plan", row: Row) -> list[Read]:
    """CAMs; and the IR labels that their network learned from, where it did: its masks are to agree with them."""
    network = _network_of_cams(plan, row)
    return [CAM, *(classifier_reads(plan, network) if network else [])]


def threshold_maps(plan: "Plan", row: Row) -> dict[str, str]:
    """The saliency maps that the network of the CAMs learned from, where it did."""
    network = _network_of_cams(plan, row)
    return saliency.maps(plan, network) if network else {}


def _network_of_cams(plan: "Plan", row: Row) -> Row | None:
    """The row whose classifier made the CAMs; None where one of the two was imported, so that nobody knows what it learned from."""
    network = plan.owner(row, "classifier")
    return None if plan.is_imported(row, "cam") or plan.is_imported(network, "classifier") else network


def refuse_threshold(plan: "Plan", row: Row) -> None:
    """UserError where there is no threshold to find."""
    owner = plan.owner(row, "cam")
    if owner != row:
        raise UserError(
            f"method {row.method} takes its cam from recipe {owner.method}, and with it the threshold; ask for that recipe's file instead"
        )
    if plan.recipe(row)["evaluation"]["policy"] == MAP:
        raise UserError(f"method {row.method}: {NO_CUT}")


# --- seeds and IR labels


def seeds_reads(plan: "Plan", row: Row) -> list[Read]:
    """CAMs; the found cut, where a rule uses it; the seeds and CAMs of `fill_from`."""
    seeds = plan.recipe(row).get("seeds", {})
    rules = [typed(seeds[name], Background) for name in ("confident", "unsure") if name in seeds]
    other = seeds.get("fill_from")
    fills = [Read("fill", "seeds", of=other), Read("fill_cam", "cam", of=other)] if other else []
    return [CAM, *([THRESHOLD] if any(map(is_found, rules)) else []), *fills]


def refuse_fill(plan: "Plan", row: Row) -> None:
    """UserError where seeds are filled up with seeds that have no unsure pass, or with these themselves, or no area can be found in CAMs of either."""
    if other := plan.recipe(row)["seeds"].get("fill_from"):
        refuse_imported_seeds(plan.section(row.other(other), "seeds"), plan.owner(row.other(other), "seeds").method, "seeds.fill_from takes both passes")
        refuse_circle("seeds", "fill_from")(plan, row)
        for owner in (plan.owner(row, "cam"), plan.owner(row.other(other), "cam")):
            if not plan.is_imported(owner, "cam") and has_bg_map(plan.recipe(owner)["net"]):
                raise UserError(f"{row.file}: seeds.fill_from: the CAMs of recipe {owner.recipe} {NOT_FILLED}")


def refuse_ir_labels(plan: "Plan", row: Row) -> None:
    """UserError where there is but one seed."""
    refuse_imported_seeds(plan.section(row, "seeds"), plan.owner(row, "seeds").method, "IR labels are made of two passes")


# --- affinity


def affinity_reads(plan: "Plan", row: Row) -> list[Read]:
    """What the network learns from, IR labels or the seeds' probabilities, and the trunk it starts with."""
    labels = SEEDS if shared.refine(plan, row) == "affinitynet" else IR_LABELS
    starts = plan.own_section(row, "affinity")["trunk"] == "classifier"
    return [labels, *([Read("classifier", "classifier", MODEL)] if starts else [])]


def affinity_weights(plan: "Plan", row: Row) -> dict[str, str]:
    """ImageNet weights, where the trunk starts with those."""
    settings = plan.own_section(row, "affinity")
    return shared.trunk_weights(plan, row, settings["backbone"]) if settings["trunk"] == "imagenet" else {}


def refuse_affinity(plan: "Plan", row: Row) -> None:
    """UserError where AffinityNet lacks the probabilities that it learns from."""
    if shared.refine(plan, row) == "affinitynet":
        seeds, owner = plan.section(row, "seeds"), plan.owner(row, "seeds").method
        refuse_imported_seeds(seeds, owner, "AffinityNet learns from the CRF's probabilities")
        require_probabilities(seeds, owner, row.file)


def walk_network(plan: "Plan", row: Row) -> dict[str, Any] | None:
    """What the network that walks is built of, for training and for inference alike; None where nothing walks."""
    refine = shared.refine(plan, row)
    if refine not in WALKS:
        return None
    owner = plan.owner(row, "affinity")
    section = plan.section(row, "affinity")
    if "import" in section:
        facts = read_facts(plan.artefact(row, "affinity", MODEL))
        require_same_walk(refine, f"{owner.method} (imported)", facts["refine"], row.file)
        require_settings(row.dataset, section["import"], "affinity", facts["settings"], NETWORK[refine])
        return facts["settings"]
    require_same_walk(refine, owner.method, shared.refine(plan, owner), row.file)
    return {key: section[key] for key in NETWORK[refine]}


# --- pseudo-masks


def pseudo_masks_reads(plan: "Plan", row: Row) -> list[Read]:
    """The CRF-refined seed; or CAMs, with the network that walks and the cut where they are needed."""
    refine = shared.refine(plan, row)
    if refine == "crf":
        return [SEEDS]
    is_cut_here = refine not in CUT_AFTER and is_found(typed(pseudo_masks_settings(plan, row)["bg"], Background))
    walker = [Read("affinity", "affinity", MODEL)] if refine in WALKS else []
    return [CAM, *([THRESHOLD] if is_cut_here else []), *walker]


def pseudo_masks_settings(plan: "Plan", row: Row) -> dict[str, Any]:
    """The recipe's section; without a refinement the cut may be the one that scores take."""
    recipe = plan.recipe(row)
    if recipe["refine"] == "none" and "pseudo_masks" not in recipe:
        return {"bg": seed_bg(plan, row)}
    return {} if recipe["refine"] == "crf" else of_refine(plan.own_section(row, "pseudo_masks"), recipe["refine"])


def seed_bg(plan: "Plan", row: Row) -> dict[str, Any]:
    """The background of a seed that is cut without ground truth."""
    evaluation = typed(plan.section(row, "evaluation"), Evaluation)
    return plain(seed_rule(evaluation.bg, evaluation.policy))


def walk_gpus(plan: "Plan", row: Row) -> int:
    """Only the walk uses a GPU."""
    return int(shared.refine(plan, row) in WALKS)
