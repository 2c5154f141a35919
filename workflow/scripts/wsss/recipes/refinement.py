"""What each refinement asks of a recipe, checked before anything runs. Plain data: no torch here."""

from wsss.errors import UserError
from wsss.nets.catalog import TRANSFORMERS
from wsss.sections import affinity, pseudo_masks
from wsss.sections.section import keys_of

ELSEWHERE = {"from", "import"}  # a stage with one of these is not run
WALKS = ("irn", "affinitynet")  # refinements that train a network (stage affinity) and walk
# Keys of the section affinity that describe the network, and all that pseudo_masks needs, by refinement.
NETWORK = {refine: affinity.network_keys(refine) for refine in WALKS}
WALK = {refine: keys_of(pseudo_masks.BY_REFINE[refine]) for refine in WALKS}


def without_former_walk(recipe: dict, content: dict) -> dict:
    """`recipe` without what its refinement needed, where `content` turns to another one: the cut of walked maps is none of plain ones."""
    old, new = recipe.get("refine"), content.get("refine", recipe.get("refine"))
    left_out = set()
    if new != old and new in WALKS:
        left_out = {"affinity", "pseudo_masks"}
    elif new != old and old in WALKS and not ELSEWHERE & set(recipe.get("pseudo_masks", {})):
        left_out = {"pseudo_masks"}
    return {key: value for key, value in recipe.items() if key not in left_out}


def check_refinement(recipe: dict, path: str) -> None:
    """The sections affinity and pseudo_masks of a resolved recipe, where they are its own.

    Raises:
        UserError: a key is missing, or belongs to another refinement.
    """
    refine, learned = recipe["refine"], recipe.get("affinity", {})
    if learned and not ELSEWHERE & set(learned):
        _check_affinity(recipe, learned, f"{path}: affinity")
    settings = recipe.get("pseudo_masks", {})
    if refine == "crf" or ELSEWHERE & set(settings):
        return
    if refine in WALKS and not learned:
        raise UserError(f"{path}: refine {refine} needs a section affinity (or affinity: {{from: RECIPE}})")
    needed = WALK.get(refine, ("bg",) if settings else ())
    _exact(settings, needed, _strange(WALK, refine), f"{path}: pseudo_masks: refine {refine}")


def _check_affinity(recipe: dict, settings: dict, where: str) -> None:
    is_transformer = recipe["backbone"] in TRANSFORMERS
    if recipe["weights"] == "none" and settings["trunk"] == "imagenet":
        frozen = "frozen " if recipe["refine"] == "irn" else ""
        learning = "trunk: none, and refine affinitynet with freeze: none and bn: train" if is_transformer else "trunk: classifier"
        raise UserError(f"{where}: trunk imagenet with weights none would be a random {frozen}trunk; set {learning}")
    if settings["trunk"] == "classifier" and is_transformer:
        other = "none (with freeze: none and bn: train)" if recipe["weights"] == "none" else "imagenet or none"
        raise UserError(f"{where}: trunk classifier is a transformer's ({recipe['backbone']}), which {recipe['refine']} cannot use; set trunk: {other}")
    learns = (settings.get("freeze"), settings.get("bn")) == ("none", "train")
    if settings["trunk"] == "none" and not learns:
        other = "; else set trunk: classifier" if not is_transformer else "" if recipe["weights"] == "none" else "; else set trunk: imagenet"
        raise UserError(f"{where}: trunk none is a random start, of which all must learn: refine affinitynet with freeze: none and bn: train{other}")
    if recipe["refine"] in WALKS:
        refine = recipe["refine"]
        _exact(settings, NETWORK[refine], _strange(NETWORK, refine), f"{where}: refine {refine}")


def _strange(table: dict, refine: str) -> set[str]:
    """Keys that other refinements have and `refine` does not."""
    return {key for keys in table.values() for key in keys} - set(table[refine]) if refine in table else set()


def _exact(settings: dict, needed: tuple[str, ...], strange: set[str], who: str) -> None:
    missing = [key for key in needed if key not in settings]
    if missing:
        raise UserError(f"{who} needs {', '.join(missing)}")
    unused = sorted(strange & set(settings))
    if unused:
        raise UserError(f"{who} has no use for {', '.join(unused)}; take {'it' if len(unused) == 1 else 'them'} out")


def require_probabilities(seeds: dict, owner: str, where: str) -> None:
    """AffinityNet learns from the probabilities of the seeds' CRF. UserError, saying where, if recipe `owner` does not keep them."""
    if not seeds.get("probabilities"):
        raise UserError(
            f"{where}: refine affinitynet learns from the CRF's probabilities; set seeds: {{probabilities: true}} in recipe {owner}"
        )


def require_same_walk(refine: str, owner: str, other: str, where: str) -> None:
    """A network of `affinity` serves one refinement. UserError, saying where, if recipe `owner`, which trains it, has another."""
    if refine != other:
        raise UserError(
            f"{where}: refine {refine} cannot walk with the affinity of recipe {owner}, which is made for refine {other}; "
            "give the recipe a section affinity of its own, or the same refine"
        )
