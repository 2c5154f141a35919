"""Other people's masks enter as a stage; what is refused of them."""

import numpy as np
import pytest
from foreign_cams import IDS, masks
from PIL import Image
from wsss.engine.index import read_index
from wsss.errors import UserError
from wsss.imports.masks import import_masks
from wsss.io.masks import VOC_PALETTE, read_mask


@pytest.mark.parametrize("stage", ["seeds", "ir_labels", "pseudo_masks"])
def test_masks_enter_as_a_stage(site, stage):
    words = import_masks(masks(site / "png"), "own", "mine", stage)
    index = read_index(f"imports/own/mine/{stage}/index.json", list(IDS))
    assert index["suffixes"] == [".png"] and f"--stage {stage}" in index["remake"]
    path = f"imports/own/mine/{stage}/{IDS[1]}.png"
    assert (read_mask(path) == read_mask(site / "png" / f"{IDS[1]}.png")).all()
    assert Image.open(path).getpalette()[:768] == VOC_PALETTE.ravel().tolist() and "note" not in words


def test_classes_that_an_image_is_not_labelled_with_are_told(site):
    words = import_masks(masks(site / "png", lambda n, m: np.where(m == 1, 2, m).astype(np.uint8)), "own", "mine", "ir_labels")
    assert "note: 1 masks hold classes that are not among" in words


@pytest.mark.parametrize(
    "words, change, mode",
    [
        ("is \\(10, 10\\), its image", lambda n, m: m[:10, :10], "L"),
        ("values \\[9\\] are neither 0..2 nor 255", lambda n, m: np.where(m == 255, 9, m).astype(np.uint8), "L"),
        ("mask has mode RGB", lambda n, m: m, "RGB"),
    ],
)
def test_masks_that_are_refused(site, words, change, mode):
    with pytest.raises(UserError, match=words):
        import_masks(masks(site / "png", change, mode), "own", "mine", "pseudo_masks")


def test_a_folder_without_pngs_says_what_is_there(site):
    for path in masks(site / "jpg").iterdir():
        path.rename(path.with_suffix(".JPG"))
    with pytest.raises(UserError, match="3 of 3 .* no file here; it holds 3 .JPG; masks are PNG, since JPEG changes label values"):
        import_masks(site / "jpg", "own", "mine", "seeds")
    (site / "none").mkdir()
    with pytest.raises(UserError, match="it holds nothing; give ID.png files"):
        import_masks(site / "none", "own", "mine", "seeds")


@pytest.mark.parametrize("name", ["run.json", "index.json"])
def test_masks_of_another_class_list_that_say_so(site, name):
    """A stage's, or an import's: the folder says what the numbers mean."""
    source = masks(site / "png")
    (source / name).write_text('{"classes": ["dog", "cat"]}')
    with pytest.raises(UserError, match=f"{name}: its masks are by the classes dog, cat; own has .*; give masks of own"):
        import_masks(source, "own", "mine", "seeds")
    for right in ('["background", "red", "green"]', "3", '"cat"', "null"):
        (source / name).write_text(f'{{"classes": {right}}}')
        import_masks(source, "own", "mine", "seeds")


def test_a_missing_mask_is_named(site):
    (masks(site / "png") / f"{IDS[2]}.png").unlink()
    with pytest.raises(UserError, match="1 of 3 training images have no file here.*\n  p 2 ü"):
        import_masks(site / "png", "own", "mine", "ir_labels")
