"""What masks say without ground truth, by hand; each rule with facts on which it speaks and facts on which it does not."""

import copy
import inspect

import numpy as np
import pytest
from wsss.report.diagnosis import in_words, table, warnings
from wsss.score import diagnosis
from wsss.score.diagnosis import LIMITS, RULES, diagnose
from wsss.score.mask_facts import Agreement, MaskFacts

CLASSES = ["cat", "dog", "cow"]


# --- facts -----------------------------------------------------------------------------------------------


def test_facts_by_hand():
    found = MaskFacts(CLASSES)
    found.add(np.array([[0, 0, 1, 1], [0, 0, 255, 255]], np.uint8), (0,))  # 2 of 6 sure pixels are cat
    found.add(np.full((1, 8), 2, np.uint8), (1, 2))  # all dog: cow is labelled, and nowhere
    found.add(np.zeros((2, 4), np.uint8), (0,))  # labelled, and empty
    found.add(np.zeros((2, 4), np.uint8), ())  # empty, as it should be
    assert found.result() == {
        "photos": 4,
        "foreground": 33.33,  # (2 + 8) of 30 sure pixels
        "unsure": 6.25,  # 2 of 32
        "all_foreground": 25.0,
        "all_background": 33.33,  # one of three labelled
        "found": {"cat": 50.0, "dog": 100.0, "cow": 0.0},
        "never": ["cow"],
    }


def test_where_labels_are_not_known_no_class_is_missed():
    found = MaskFacts(CLASSES)
    found.add(np.ones((2, 2), np.uint8), None)
    found.add(np.zeros((2, 2), np.uint8), None)
    result = found.result()
    assert result["found"] == {"cat": 50.0, "dog": 0.0, "cow": 0.0}
    assert result["never"] == [] and result["all_background"] is None


def test_a_photo_of_unsure_pixels_is_neither_full_nor_empty():
    found = MaskFacts(CLASSES)
    found.add(np.full((2, 2), 255, np.uint8), (0,))
    result = found.result()
    assert (result["foreground"], result["unsure"]) == (None, 100.0)
    assert result["all_foreground"] == result["all_background"] == 0.0


def test_agreement_by_hand():
    pair = Agreement(3)
    one, other = np.array([[0, 0, 1, 1, 255]], np.uint8), np.array([[0, 1, 1, 255, 2]], np.uint8)
    pair.add(one, other)  # of both sure: background 1 of 2, cat 1 of 2; dog is in no sure pixel
    assert pair.result() == 50.0
    pair.add(np.full((1, 4), 2, np.uint8), np.full((1, 4), 2, np.uint8))
    assert pair.result() == pytest.approx(100 * (0.5 + 0.5 + 1) / 3, abs=0.01)
    assert Agreement(3).result() is None


# --- rules -----------------------------------------------------------------------------------------------


def stage(**changes):
    found = {
        "photos": 40, "of": 40, "foreground": 35.0, "unsure": 0.0, "all_foreground": 2.0, "all_background": 1.0,
        "found": {"cat": 90.0}, "never": [],
    }  # fmt: skip
    return {**found, **changes}


def check(how="cross_fit", **changes):
    found = {
        "how": how, "of": "cam", "photos": 32, "classes": 2, "loss": 0.35, "guess_loss": 0.6, "map": 80.0, "guess_map": 30.0, "f1": 70.0,
        "training": {"photos": 32, "classes": 2, "loss": 0.2, "guess_loss": 0.6, "map": 97.0, "guess_map": 30.0, "f1": 91.0},
        "trained": {
            "photos": 32, "steps": 400, "batch_size": 16, "passes": 200.0, "last_loss": 0.2, "unlabelled": 0,
            "photos_of": {"cat": 16, "dog": 16, "cow": 3}, "alone_in": {"cat": 13, "dog": 15, "cow": 0},
        },
    }  # fmt: skip
    for key, value in changes.items():
        found[key] = {**found[key], **value} if isinstance(value, dict) else value
    return found


def facts(classifier=None, agreement=None, **stages):
    return {
        "classifier": classifier or check(),
        "stages": {"seeds": stage(cut={"key": "seeds.confident", "kind": "const", "value": 0.3}), "predictions": stage()} | stages,
        "agreement": agreement or [{"of": ["seeds", "pseudo_masks"], "miou": 70.0, "photos": 40}],
    }


UNLEARNED = check(loss=0.55, training={"loss": 0.52}, trained={"steps": 16})
CUT = {"key": "seeds.confident", "kind": "const", "value": 0.3}
POWER = {"key": "pseudo_masks.bg", "kind": "power", "value": 4}

SPEAKS = {
    "no_contrast": (facts(check(trained={"photos_of": {"cat": 32, "dog": 3}})), ["labelled cat", "labelled with what they show instead"]),
    "lone_photos": (facts(check(trained={"photos_of": {"cat": 31, "dog": 1}})), ["of dog", "one training photo"]),
    "never_alone": (
        facts(check(trained={"photos_of": {"cat": 16, "dog": 16, "cow": 5}, "alone_in": {"cat": 11, "dog": 0, "cow": 0}})),
        ["shows dog or cow without another class", "add photos that show them alone"],
    ),
    "not_learned": (facts(UNLEARNED), ["(cam) loss is 0.52 (guessing: 0.60)", "classifier.steps to 400", "it had 16", "can be told"]),
    "others_not_learned": (
        facts() | {"classifiers": {"cam": UNLEARNED, "eps.net2": UNLEARNED, "amn": {"how": "none"}}},
        ["(eps.net2) loss is 0.52", "classifier.steps to 400"],
    ),
    "cannot_be_told": (facts(check(map=33.0)), ["cannot be told", "mAP of 33", "guessing has 30"]),
    "by_heart": (facts(check("val", map=45.0)), ["by heart", "97 on them, 45 on others", "below 400"]),
    "too_much": (facts(seeds=stage(foreground=96.0, cut=CUT)), ["masks of seeds cover 96 %", "seeds.confident.value above 0.3"]),
    "too_little": (facts(seeds=stage(foreground=0.4, cut=CUT)), ["seeds cover 0 %", "seeds.confident.value below 0.3"]),
    "whole_photos": (facts(seeds=stage(all_background=60.0, cut=CUT)), ["leave 60 %", "without any object", "below 0.3"]),
    "never_predicted": (facts(predictions=stage(never=["cow", "dog"])), ["cow and dog", "masks of predictions", "segmentation.steps"]),
    "unsure": (facts(ir_labels=stage(unsure=80.0)), ["ir_labels leave 80 %", "seeds.unsure"]),
    "disagreement": (
        facts(pseudo_masks=stage(cut=POWER), agreement=[{"of": ["seeds", "pseudo_masks"], "miou": 20.0, "photos": 9}]),
        ["seeds and pseudo_masks agree in 20 %", "pseudo_masks.bg.value"],
    ),
}  # fmt: skip


def test_nothing_is_said_of_what_looks_sound():
    assert diagnose(facts()) == []
    assert diagnose({}) == [] and diagnose({"stages": {"seeds": stage()}}) == []


def test_what_has_no_threshold_is_not_to_be_given_one():
    """SIPE's background is a map: `value` would be refused."""
    seeds = stage(cut={"key": "seeds.confident", "kind": "map", "value": 1})
    pair = {"of": ["seed", "seeds"], "miou": 20.0, "photos": 9}
    (line,) = diagnose(facts(seeds=seeds, agreement=[pair]))
    assert "seeds.confident.scale" in line and ".value" not in line
    (line,) = diagnose(facts(seeds=stage(cut={"key": "seeds.confident", "kind": "const", "value": 0.4, "shift": 0.1}), agreement=[pair]))
    assert "move seeds.confident.shift" in line


def test_a_found_cut_is_moved_by_its_shift():
    """A number in its place would cut other CAMs too, and stand beside a found unsure pass."""
    cut = {"key": "seeds.confident", "kind": "const", "value": 0.4, "shift": 0.1, "by": "a rule"}
    (high,), (low,) = (diagnose(facts(seeds=stage(foreground=share, cut=cut))) for share in (96.0, 0.4))
    assert "set seeds.confident.shift above 0.1" in high and "set seeds.confident.shift below 0.1 (and the cut of seeds.unsure, where" in low
    (most,), (least,) = (diagnose(facts(seeds=stage(foreground=share, cut={**cut, "shift": 0.95}))) for share in (96.0, 0.4))
    assert "set seeds.confident.value above 0.4" in most and "set seeds.confident.shift below 0.95" in least
    assert "unsure" not in high


def test_masks_of_test_images_are_the_segmentation_networks():
    (line,) = diagnose({"stages": {"voc_test": stage(foreground=0.4)}})
    assert "segmentation.steps" in line


def test_every_rule_has_a_case():
    assert set(SPEAKS) == {rule.__name__ for rule in RULES}
    source = inspect.getsource(diagnosis)
    assert all(source.count(f'LIMITS["{name}"]') for name in LIMITS), "a limit that no rule asks"


@pytest.mark.parametrize("name", SPEAKS)
def test_a_rule_speaks_alone_and_says_what_to_change(name):
    given, words = SPEAKS[name]
    before = copy.deepcopy(given)
    lines = diagnose(given)
    assert len(lines) == 1 and lines == list(getattr(diagnosis, name)(given))
    assert all(word in lines[0] for word in words), lines[0]
    assert "\n" not in lines[0] and given == before


def with_share(key, value):
    return facts(seeds=stage(**{key: value}, cut=CUT))


LIMITED = {
    "foreground_high": lambda value: with_share("foreground", value),
    "foreground_low": lambda value: with_share("foreground", value),
    "all_foreground": lambda value: with_share("all_foreground", value),
    "all_background": lambda value: with_share("all_background", value),
    "unsure": lambda value: facts(ir_labels=stage(unsure=value)),
    "agreement": lambda value: facts(agreement=[{"of": ["seed", "seeds"], "miou": value}]),
    "unlearned_loss": lambda value: facts(check(training={"loss": value * 0.6})),
    "blind_map": lambda value: facts(check(map=30 + 0.7 * value)),
    "blind_loss": lambda value: facts(check("val", map=32.0, loss=value * 0.6, training={"map": 60.0})),
    "by_heart_gap": lambda value: facts(check("held_out", map=30 + 0.7 * (95.7142857 - value))),
    "least_photos": lambda value: facts(check("held_out", map=35.0, photos=value)),
    "least_together": lambda value: facts(check(trained={"photos_of": {"cat": 31, "dog": value}, "alone_in": {"cat": 25, "dog": 0}})),
}
BELOW = {"foreground_low", "agreement", "blind_map"}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_where_its_rule_begins(name):
    step = 1 if name.startswith("least") else 0.01  # photos are whole
    over, under = (diagnose(LIMITED[name](LIMITS[name] + shift)) for shift in (step, -step))
    speaking, silent = (under, over) if name in BELOW else (over, under)
    assert len(speaking) == 1 and silent == [], (speaking, silent)


def test_masks_and_loss_together_name_the_cause():
    """The forty own photos of the issue: one line, with the cause, not one for each stage."""
    lines = diagnose(facts(UNLEARNED, seeds=stage(foreground=96.0, all_foreground=80.0, cut=CUT), predictions=stage(foreground=97.0)))
    assert len(lines) == 1
    assert lines[0].startswith("masks of seeds cover 96 % (predictions 97 %) of the pixels and the classifier's (cam) loss is 0.52")
    assert "it has not learned; set classifier.steps to 400 or more" in lines[0]


def test_whole_and_empty_photos_together_ask_for_no_threshold():
    lines = diagnose(facts(seeds=stage(all_foreground=50.0, all_background=50.0, cut=CUT)))
    assert len(lines) == 1 and "no threshold mends both" in lines[0] and "seeds.confident" not in lines[0]


def test_advice_knows_how_a_cut_works():
    """A higher power is a weaker background: it has to go down for smaller masks, where a threshold goes up."""
    too_much = diagnose(facts(seeds=stage(foreground=96.0, cut=POWER)))
    assert "set pseudo_masks.bg.value below 4" in too_much[0]
    assert "segmentation.steps" in diagnose({"stages": {"predictions": stage(foreground=90.0)}})[0]


def test_few_photos_prove_nothing():
    assert diagnose(facts(check("val", map=35.0, photos=8))) == []


# --- words -----------------------------------------------------------------------------------------------


def content(**changes):
    return {"dataset": "own", "method": "amn", "warnings": [], "classifiers": {}, **facts(), **changes}


def test_text_holds_warnings_and_figures():
    text = in_words(content(warnings=["masks cover <all>"]))
    assert text.startswith("own, amn: 1 warning\n- masks cover <all>\n")
    assert "mAP 80.0 (guessing 30.0), F1 70.0, loss 0.35 (guessing 0.60); 32 photos, ImageNet features cross-fitted (cam's)" in text
    assert "refined seed 35.0; prediction 35.0" in text and "refined seed and pseudo-mask 70.0" in text
    assert "own, amn: no warnings" in in_words(content())


def test_text_says_why_there_is_no_check_and_what_was_sampled():
    none = {**check("none"), "why": "no weights", "training": {}}
    stages = {"seeds": stage(photos=2000, of=82081)}
    text = in_words(content(classifier=none, stages=stages))
    assert "not known: no weights" in text and "refined seeds: 2000 of 82081 read" in text
    assert "classifier on photos not seen: -" in in_words(content(classifier=None))


def test_a_check_from_before_f1_is_told_without_it():
    """Where only later stages run again, the classifier's check.json stays as it was."""
    old = check()
    del old["f1"], old["training"]["f1"]
    text = in_words(content(classifier=old))
    assert "mAP 80.0 (guessing 30.0), F1 not taken then, loss 0.35" in text and text.count("F1 not taken then") == 2
    assert "F1" not in in_words(content(classifier=check(f1=None, training={"f1": None})))


def test_table_has_a_row_a_method():
    found = table([content(), content(method="a<b")])
    assert len(found.head) == len(found.rows[0]) == len(found.rows[1]) and found.rows[1][0] == "a<b"
    assert warnings([content(warnings=["x > y"])]) == {"amn": ["x > y"]} and warnings([content()]) == {}
