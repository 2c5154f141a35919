"""CAM files that are refused: hostile pickles, missing images, maps that are not of their image."""

import os
import pickle

import numpy as np
import pytest
import torch
from foreign_cams import IDS, SIZES, irn_dict, save, smooth
from wsss.errors import UserError
from wsss.imports.cams import import_cams


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


class EvilStorage:
    """Passes the look-up of `_load_from_bytes`, and hides a pickle of its own inside."""

    def __reduce__(self):
        return torch.storage._load_from_bytes, (pickle.dumps(Evil(), 2),)


class Endless:
    """A tensor of 10^12 values out of a few."""

    def __reduce__(self):
        storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True)
        return torch._utils._rebuild_tensor_v2, (storage, 0, (10**6, 10**6), (0, 0), False, {})


@pytest.mark.parametrize("hidden", [Evil, EvilStorage, Endless])
def test_hostile_pickles_do_nothing(site, hidden):
    save(site / "maps", IDS[1], irn_dict(1))
    save(site / "maps", IDS[0], {"keys": np.array([0]), "cam": hidden()})
    with pytest.raises(UserError, match="p 0 ü.npy"):
        import_cams(site / "maps", "own", "mine")
    assert not (site / "it_ran").exists() and not (site / "imports/own/mine/cam/index.json").exists()


def test_other_names_are_named(site):
    save(site / "maps", IDS[0], {"keys": np.array([0]), "cam": Evil()})
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match="refused, it asks for posix.mkdir"):
        import_cams(site / "maps", "own", "mine")


def test_missing_images_are_named(site):
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match="1 of 2 training images have no file here.*\n  p 0 ü"):
        import_cams(site / "maps", "own", "mine")
    with pytest.raises(UserError, match="no such folder"):
        import_cams(site / "none", "own", "mine")


BAD = {
    "has classes \\[1\\], its image the labels \\[0\\]": {1: smooth(SIZES[0])[0]},
    "has classes \\[0, 1\\]": {0: smooth(SIZES[0])[0], 1: smooth(SIZES[0])[0]},
    "maps of \\(5, 5\\), but the image is \\(33, 47\\)": {0: np.zeros((5, 5))},
    "1 keys and cam \\(1, 5, 5\\), but the image wants cam \\(K, 9, 12\\)": {"keys": [0], "cam": np.zeros((1, 5, 5))},
    "holds list where an array": {"keys": [0]},
    "1 keys and no maps": {"keys": np.array([0])},
    "CAMs are normalised to": {0: smooth(SIZES[0])[0] * 7},
    "values from nan": {0: np.full(SIZES[0], np.nan)},
    "holds neither": {"a": 1},
    "expected": {0: "text"},
}
BAD["1 keys and cam \\(1, 5, 5\\), but the image wants cam \\(K, 9, 12\\)"]["keys"] = np.array([0])


@pytest.mark.parametrize("words", BAD)
def test_files_that_are_no_cams_of_their_image(site, words):
    save(site / "maps", IDS[0], BAD[words])
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match=words) as error:
        import_cams(site / "maps", "own", "mine")
    assert "p 0 ü.npy" in str(error.value) and "p 1 ü" not in str(error.value)


def test_all_bad_files_are_named_at_once(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], {0: np.zeros((5, 5))})
    with pytest.raises(UserError, match="2 problems"):
        import_cams(site / "maps", "own", "mine")


def test_the_dataset_must_be_there(site):
    with pytest.raises(UserError, match="make it first: snakemake results/other/manifest.csv"):
        import_cams(site / "maps", "other", "mine")
