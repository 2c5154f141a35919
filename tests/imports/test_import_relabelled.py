"""Labels and class lists that change after an import."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from foreign_cams import IDS, SIZES, irn_dict, masks, records, save
from PIL import Image
from wsss.data.stage_inputs import cam_folder, input_index
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.imports.cams import import_cams
from wsss.imports.export import export_cams
from wsss.imports.masks import import_masks


def relabel(old, new):
    """Edit the labels in the manifest, as a builder would after labels.csv was edited."""
    path = Path("results/own/manifest.csv")
    path.write_text(path.read_text().replace(f",{old},", f",{new},", 1))


def stage_inputs(stage, **more):
    """A task's view of an imported stage."""
    index = f"imports/own/mine/{stage}/index.json"
    return SimpleNamespace(inputs={stage: index, "manifest": "results/own/manifest.csv", **more})


def test_cams_are_refused_once_their_image_has_other_labels(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    assert cam_folder(stage_inputs("cam"), records()).at(records()[0], SIZES[0]).shape == (1, *SIZES[0])
    relabel("red", "green")  # before, red's map was read as that of green
    words = r"p 0 ü: holds classes \[red\], but its image is labelled \[green\]"
    with pytest.raises(UserError, match=f"run: python workflow/scripts/import_cams.py FOLDER.*\n.*{words}"):
        cam_folder(stage_inputs("cam"), records())
    with pytest.raises(UserError, match=words):
        export_cams(site / "imports/own/mine/cam", site / "out", "own")
    assert cam_folder(stage_inputs("cam"), records()[1:]).classes == ("red", "green")  # of another job's images


def test_cams_and_masks_are_refused_once_the_class_list_is_another(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    import_masks(masks(site / "png"), "own", "mine", "ir_labels")
    facts = Path("results/own/dataset.json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "classes": ["green", "red"]}))
    for stage, ask in (("cam", lambda t: cam_folder(t, records())), ("ir_labels", lambda t: input_index(t, "ir_labels", records()))):
        with pytest.raises(UserError, match="made of the classes red, green; own has green, red; run: python workflow/scripts/import_"):
            ask(stage_inputs(stage))


def test_what_was_imported_is_refused_once_a_photo_is_another(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    import_masks(masks(site / "png"), "own", "mine", "ir_labels")
    photo = records()[0].image
    Image.new("RGB", Image.open(photo).size, (9, 99, 9)).save(photo)
    for stage, ask in (("cam", lambda t, r: cam_folder(t, r)), ("ir_labels", lambda t, r: input_index(t, "ir_labels", r))):
        with pytest.raises(UserError, match="these photos have changed since it was imported.*run: python(.|\n)*p 0 ü: another photo"):
            ask(stage_inputs(stage), records())
        ask(stage_inputs(stage), records()[1:])


def test_masks_are_refused_once_labels_have_changed(site):
    import_masks(masks(site / "png"), "own", "mine", "pseudo_masks")
    task = stage_inputs("pseudo_masks")
    input_index(task, "pseudo_masks", records())
    relabel("red", "green")
    with pytest.raises(UserError, match="labels have changed since it was imported; run: .*--stage pseudo_masks"):
        input_index(task, "pseudo_masks", records())
    path = Path(task.inputs["pseudo_masks"])
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k not in ("classes", "labels")}))
    with pytest.raises(UserError, match="does not say what classes and labels.*run: python"):  # as imports were before
        input_index(task, "pseudo_masks", records())
