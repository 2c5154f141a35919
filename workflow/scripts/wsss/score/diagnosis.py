"""From facts to plain words: what is likely wrong with a chain of stages, and what to change.

Facts: {"classifier": check.json, or nothing; "stages": {name: `wsss.score.mask_facts.MaskFacts.result`, and "cut":
{"key", "kind", "value", of a found one "shift" and "by"} where the masks were cut out of CAMs}, in the chain's order; "agreement": [{"of": [stage, stage], "miou"}]}.
All of it may be missing: a stage that ends knows itself only.
"""

from collections.abc import Callable, Iterator
from typing import Any

from wsss.constants import LARGEST_SHIFT

Facts = dict[str, Any]

# When a rule speaks. Percent, but for the first two (shares of the loss that guessing has). What they rest on: docs/diagnosis.md.
LIMITS = {
    "unlearned_loss": 0.75,  # has not learned: its loss on the photos it trained on is above this share of guessing's
    "blind_loss": 1.0,  # cannot tell photos apart that it has not seen: loss above this share, and ranking below the next
    "blind_map": 25.0,  # mAP, as part of the way from guessing to perfect
    "least_photos": 20,  # of that nothing is said by fewer photos
    "least_together": 5,  # photos of a class, from which it tells something that others are in all of them
    "by_heart_gap": 50.0,  # that mAP on photos trained on, over the one on others
    "foreground_high": 70.0,
    "foreground_low": 5.0,
    "all_foreground": 15.0,  # of photos
    "all_background": 20.0,  # of labelled photos
    "unsure": 60.0,
    "agreement": 40.0,
}
MIN_STEPS = 400  # of a classifier, advised where it has not learned


def diagnose(facts: Facts) -> list[str]:
    """One line for each thing that looks wrong, causes first."""
    return [line for rule in RULES for line in rule(facts)]


def learned_part(figures: Facts) -> float | None:
    """mAP as percent of the way from guessing (0) to perfect (100); None where no class can be ranked."""
    found, chance = figures.get("map"), figures.get("guess_map")
    return None if found is None or chance is None or chance >= 100 else 100 * (found - chance) / (100 - chance)


def has_not_learned(check: Facts | None) -> bool:
    """Whether the classifier is hardly better than guessing on the very photos it was trained on."""
    own = (check or {}).get("training") or {}
    return bool(own) and own["loss"] > LIMITS["unlearned_loss"] * own["guess_loss"]


def no_contrast(facts: Facts) -> Iterator[str]:
    """A class that every photo has gives a classifier nothing to tell it from."""
    trained = (facts.get("classifier") or {}).get("trained", {})
    photos = trained.get("photos", 0)
    names = [name for name, count in trained.get("photos_of", {}).items() if count == photos]
    if names and photos:
        yield (
            f"every training photo is labelled {_list(names)}: the classifier has nothing to tell {_it(names)} from; add photos "
            "without, labelled with what they show instead (it learns nothing from photos that have no label at all)"
        )


def lone_photos(facts: Facts) -> Iterator[str]:
    """No network learns a class from one photo."""
    counts = (facts.get("classifier") or {}).get("trained", {}).get("photos_of", {})
    names = [name for name, count in counts.items() if count == 1]
    if names:
        yield f"of {_list(names)} there is one training photo only: too little to learn from; add photos, or take the label out"


def never_alone(facts: Facts) -> Iterator[str]:
    """A class that comes with others only: labels of whole photos do not say which pixels are whose."""
    trained = (facts.get("classifier") or {}).get("trained", {})
    alone, counts = trained.get("alone_in", {}), trained.get("photos_of", {})
    names = [name for name, count in counts.items() if alone.get(name) == 0 and LIMITS["least_together"] <= count < trained["photos"]]
    if names:
        yield (
            f"no training photo shows {_list(names, 'or')} without another class: masks of {_it(names)} may take in what stands beside {_it(names)}; "
            f"add photos that show {_it(names)} alone"
        )


def not_learned(facts: Facts) -> Iterator[str]:
    """The classifier's loss on its own photos is about that of guessing."""
    check = facts.get("classifier") or {}
    if has_not_learned(check) and not _covering(facts):
        yield _unlearned(check) + _can_be_told(check)


def others_not_learned(facts: Facts) -> Iterator[str]:
    """Nor has another classifier behind the masks: one whose labels were learned from, or whose maps are averaged with the first's."""
    for name, check in facts.get("classifiers", {}).items():
        if name != (facts.get("classifier") or {}).get("of") and has_not_learned(check):
            yield _unlearned({**check, "of": name})


def cannot_be_told(facts: Facts) -> Iterator[str]:
    """On photos it has not seen it does no better than guessing, though it has learned its own, or no fit can."""
    check = facts.get("classifier") or {}
    part = learned_part(check)
    if part is None or part >= LIMITS["blind_map"] or check["photos"] < LIMITS["least_photos"]:
        return
    if check["how"] == "cross_fit":
        yield (
            f"the labels cannot be told from the photos: a fit on ImageNet features reaches a mAP of {check['map']:.0f} "
            f"where guessing has {check['guess_map']:.0f}; see whether labels.csv is right, or add photos"
        )
    elif not has_not_learned(check) and check["loss"] > LIMITS["blind_loss"] * check["guess_loss"]:
        yield (
            f"on photos it has not seen the classifier's mAP is {check['map']:.0f} where guessing has {check['guess_map']:.0f}; "
            "see whether labels.csv is right, or add photos"
        )


def by_heart(facts: Facts) -> Iterator[str]:
    """It knows its own photos only."""
    check = facts.get("classifier") or {}
    unseen, own = learned_part(check), learned_part(check.get("training") or {})
    if check.get("how") == "cross_fit" or unseen is None or own is None or check["photos"] < LIMITS["least_photos"]:
        return
    if own - unseen > LIMITS["by_heart_gap"]:
        yield (
            f"the classifier knows its photos by heart: mAP {check['training']['map']:.0f} on them, {check['map']:.0f} on others; "
            f"add photos, or set classifier.steps below {check['trained']['steps']}"
        )


def too_much(facts: Facts) -> Iterator[str]:
    """Masks that cover nearly everything: because the classifier has not learned, or because of the cut."""
    stages = _covering(facts)
    if not stages:
        return
    check, first = facts.get("classifier") or {}, next(iter(stages))
    words = f"{_shares(stages, 'foreground')} of the pixels"
    if has_not_learned(check):
        yield f"{words} and {_unlearned(check)}{_can_be_told(check)}"
    else:
        yield f"{words}: nearly all is called an object; {_move_cut(stages[first], first, up=True)}"


def too_little(facts: Facts) -> Iterator[str]:
    """Masks that are nearly empty."""
    stages = _where(facts, "foreground", lambda share: share < LIMITS["foreground_low"])
    if stages:
        first = next(iter(stages))
        yield f"{_shares(stages, 'foreground')} of the pixels: hardly anything is called an object; {_move_cut(stages[first], first, up=False)}"


def whole_photos(facts: Facts) -> Iterator[str]:
    """Many photos without any background, or labelled ones without any object."""
    full = _where(facts, "all_foreground", lambda share: share > LIMITS["all_foreground"])
    empty = _where(facts, "all_background", lambda share: share > LIMITS["all_background"])
    if both := {name: found for name, found in full.items() if name in empty}:
        yield (
            f"{_shares(both, 'all_foreground')} of the photos whole and {_shares(both, 'all_background', 'leave')} of the labelled ones without any object: "
            "no threshold mends both; see whether the classifier has learned, and train it longer (classifier.steps) or add photos"
        )
        return
    if full and not _covering(facts):
        first = next(iter(full))
        yield f"{_shares(full, 'all_foreground')} of the photos whole; {_move_cut(full[first], first, up=True)}"
    if empty:
        first = next(iter(empty))
        yield (
            f"{_shares(empty, 'all_background', 'leave')} of the labelled photos without any object; "
            f"{_move_cut(empty[first], first, up=False)}"
        )


def never_predicted(facts: Facts) -> Iterator[str]:
    """A labelled class that no mask shows."""
    stages = _where(facts, "never", bool)
    if not stages:
        return
    first = next(iter(stages))
    names = stages[first]["never"]
    where = f"in none of the masks of {first}" + (f" (nor of {_list(list(stages)[1:])})" if len(stages) > 1 else "")
    yield (
        f"{_list(names)}: {where}, though photos are labelled so; add photos of {_it(names)}, see whether the labels are right, "
        f"or train longer ({'segmentation' if first in LEARNT else 'classifier'}.steps)"
    )


def unsure(facts: Facts) -> Iterator[str]:
    """Labels that leave the next network little to learn from."""
    stages = _where(facts, "unsure", lambda share: share > LIMITS["unsure"])
    if stages:
        yield (
            f"{_shares(stages, 'unsure', 'leave')} of the pixels unsure: the next network learns from the rest only; "
            "bring seeds.confident and seeds.unsure closer together"
        )


def disagreement(facts: Facts) -> Iterator[str]:
    """One stage's masks are not what the next one makes of them."""
    for pair in facts.get("agreement", []):
        if pair["miou"] is not None and pair["miou"] < LIMITS["agreement"]:
            yield (
                f"{' and '.join(pair['of'])} agree in {pair['miou']:.0f} % (mean IoU): one of them goes wrong; look at both in "
                f"the report's images, and {_between(facts, pair['of'][1])}"
            )


RULES: tuple[Callable[[Facts], Iterator[str]], ...] = (
    no_contrast, lone_photos, never_alone, not_learned, others_not_learned, cannot_be_told, by_heart, too_much, too_little, whole_photos, never_predicted,
    unsure, disagreement,
)  # fmt: skip
LOWER_TOO = " (and the cut of seeds.unsure, where it would be the higher one)"
LEARNT = ("predictions", "predict", "voc_test")  # masks of the segmentation network, which no cut shapes


def _covering(facts: Facts) -> Facts:
    return _where(facts, "foreground", lambda share: share > LIMITS["foreground_high"])


def _where(facts: Facts, key: str, test: Callable[[Any], bool]) -> Facts:
    """The stages whose `key` passes the test, in the chain's order."""
    return {name: found for name, found in facts.get("stages", {}).items() if found.get(key) is not None and test(found[key])}


def _shares(stages: Facts, key: str, verb: str = "cover") -> str:
    """`masks of seeds cover 96 % (pseudo_masks 95 %)`"""
    first, *rest = [(name, found[key]) for name, found in stages.items()]
    others = ", ".join(f"{name} {share:.0f} %" for name, share in rest)
    return f"masks of {first[0]} {verb} {first[1]:.0f} %" + (f" ({others})" if others else "")


def _whose(check: Facts) -> str:
    return f"the classifier's ({check['of']})" if "of" in check else "the classifier's"


def _loss(check: Facts) -> str:
    own = check["training"]
    return f"{own['loss']:.2f} (guessing: {own['guess_loss']:.2f})"


def _more_steps(check: Facts) -> str:
    steps = check["trained"]["steps"]
    return f"set classifier.steps to {max(MIN_STEPS, 2 * steps)} or more (it had {steps})"


def _unlearned(check: Facts) -> str:
    return f"{_whose(check)} loss is {_loss(check)}: it has not learned; {_more_steps(check)}"


def _can_be_told(check: Facts) -> str:
    """Whether more steps can help, as far as the cross-fit says."""
    part = learned_part(check) if check["how"] == "cross_fit" else None
    return f"; the labels can be told, at a mAP of {check['map']:.0f}" if part and part >= LIMITS["blind_map"] else ""


def _move_cut(found: Facts, stage: str, up: bool) -> str:
    """What makes masks of a stage smaller (`up`), or larger."""
    if stage in LEARNT:
        return "see the pseudo-masks it learned from; where those are sound, set segmentation.steps higher"
    cut = found.get("cut")
    if cut is None:
        return "see the stages before it"
    if cut["kind"] == "map":
        return f"set {cut['key']}.scale {'above' if up else 'below'} {cut.get('scale', cut.get('value', 1)):g}"
    if "shift" in cut and (cut["shift"] < LARGEST_SHIFT if up else cut["shift"] > -LARGEST_SHIFT):
        return f"set {cut['key']}.shift {'above' if up else 'below'} {cut['shift']:g}{LOWER_TOO * (not up and cut['key'] == 'seeds.confident')}"
    higher = up == (cut["kind"] == "const")  # a higher power makes the background weaker
    return f"set {cut['key']}.value {'above' if higher else 'below'} {cut['value']:g}"


def _between(facts: Facts, stage: str) -> str:
    """What changes masks of `stage` and not those of the stage before it."""
    if stage in LEARNT:
        return "where the later one is worse set segmentation.steps higher"
    cut = facts.get("stages", {}).get(stage, {}).get("cut")
    if cut is None:
        return "see which of them follows the objects"
    return f"where the later one is worse move {cut['key']}.{'scale' if cut['kind'] == 'map' else 'shift' if 'shift' in cut else 'value'}, where its maps are cut"


def _list(names: list[str], word: str = "and") -> str:
    *before, last = [*map(str, names[:5]), *([f"{len(names) - 5} more"] if len(names) > 5 else [])]
    return f"{', '.join(before)} {word} {last}" if before else last


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
