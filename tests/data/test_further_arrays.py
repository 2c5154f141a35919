"""What a method adds to its samples, and that colours are drawn apart from geometry without a change of any draw."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers import folder_dataset
from sections import augmentation_of
from wsss.data.draw import draw_colours, draw_geometry
from wsss.data.further import DTYPES, require_plain, tensors
from wsss.data.jitter import draw_jitter
from wsss.data.manifest import load_manifest
from wsss.data.torch_sets import TrainingSet
from wsss.data.transforms import Colours
from wsss.errors import UserError
from wsss.methods.cpn import CPN

JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
AUGMENTATION = {"resize": {"scale": [0.6, 1.4]}, "flip": 0.5, "crop": 48, "hsv": 10, "jitter": JITTER}
# (settings, seed) -> geometry of a photo of 281 x 500, colours, and the generator's next number, as they were when one
# function drew them all.
DRAWN = {
    "eps": (
        {"resize": {"long_side": [256, 512]}, "flip": 0.5, "crop": 448, "jitter": JITTER},
        0,
        ((266, 474), True, (-116, 8)),
        None,
        [("brightness", 0.7099165813171175), ("saturation", 1.247653346366633), ("hue", 0.021327155153435973), ("contrast", 1.1879621435201635)],
        0.5436249914654229,
    ),
    "affinitynet": (
        {"resize": {}, "flip": 0.5, "crop": 448, "padding": "black", "jitter": JITTER},
        1,
        ((281, 500), False, (-126, 50)),
        None,
        [("contrast", 1.2691896682823463), ("hue", -0.015334710205484867), ("saturation", 0.8870988712062913), ("brightness", 0.7864957676317803)],
        0.5495936876730595,
    ),
    "deeplab_v1": (
        {"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 448, "hsv": 10},
        12345,
        ((204, 364), True, (-50, -67)),
        (3, 4, 10),
        [],
        0.33281392786638453,
    ),
    "both": (
        {"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 64, "hsv": 10, "jitter": JITTER},
        0,
        ((319, 568), True, (78, 20)),
        (-9, -10, -7),
        [("hue", 0.008724998293084568), ("saturation", 1.137697936590399), ("contrast", 1.063981465460308), ("brightness", 1.247653346366633)],
        0.8158535541215322,
    ),
}  # fmt: skip
# (pair, index, seed) -> sums of image and of pair_mask, each pixel times its number, and pair_weight, from before too.
PAIRS = {
    ("superpixels", 0, 5): (-6782670.135387776, 1665746, 0.6493055820465088),
    ("superpixels", 3, 6): (1200682.5470153876, 2061497, 0.7595486044883728),
    ("superpixels", 5, 7): (9151373.534643196, 1952765, 0.7274305820465088),
    ("grid", 0, 5): (-6782670.135387776, 1180160, 0.4444444477558136),
    ("grid", 3, 6): (1200682.5470153876, 2253696, 0.75),
    ("grid", 5, 7): (9151373.534643196, 495744, 0.25),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_manifest(folder_dataset(tmp_path_factory.mktemp("own")) / "manifest.csv")


def samples(dataset, further=None, **changes):
    return TrainingSet(dataset, dataset.split("trainaug"), augmentation_of(AUGMENTATION, **changes), further=further)


# --- nothing that was drawn has changed ----------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_draws_are_what_they_were(name):
    values, seed, geometry, shift, steps, after = DRAWN[name]
    settings = augmentation_of(values)
    rng = np.random.default_rng(seed)
    found = draw_geometry((281, 500), settings, rng)
    colours = draw_colours(settings, rng)
    assert (found.size_hw, found.flip, found.offset_yx) == geometry and colours.shift_hsv == shift
    drawn = colours.jitter.steps if colours.jitter else ()
    assert [name for name, _ in drawn] == [name for name, _ in steps]
    np.testing.assert_allclose([factor for _, factor in drawn], [factor for _, factor in steps], rtol=1e-12)
    assert rng.random() == pytest.approx(after, rel=1e-12)


@pytest.mark.parametrize("pair, index, seed", PAIRS)
def test_cpns_samples_are_what_they_were(dataset, pair, index, seed):
    net = CPN(2, "resnet_small", {"pair": pair, "segments": 60, "compactness": 10, "grid_sizes": [16, 32]})
    sample = samples(dataset, net.further_arrays())[index, seed]
    weighted = [(v.double() * torch.arange(1, v.numel() + 1).view_as(v)).sum().item() for v in (sample["image"], sample["pair_mask"])]
    assert set(sample) == {"id", "image", "y", "pair_mask", "pair_weight"}
    assert (*weighted, sample["pair_weight"].item()) == pytest.approx(PAIRS[pair, index, seed], rel=1e-9)


def test_what_is_added_changes_nothing_else(dataset):
    for key in ((0, 5), (3, 6)):
        plain, more = samples(dataset)[key], samples(dataset, lambda view, rng: {"drawn": rng.random(3, np.float32)})[key]
        assert torch.equal(plain["image"], more["image"]) and set(more) - set(plain) == {"drawn"}


# --- what methods make of a view -----------------------------------------------------------------------


def strong_view(view, rng, reach):
    """The sample's pixels in colours of their own, as FSAE's and PPC's strong view; and where the image is."""
    return {"strong": view.geometry.image(view.photo, draw_jitter(reach, rng)), "valid": view.geometry.valid()}


def test_two_views_share_geometry_and_not_colours(dataset):
    further = partial(strong_view, reach=JITTER)
    require_plain(further)
    moved = 0
    for seed in range(6):
        coloured, plain = samples(dataset, further)[seed, seed], samples(dataset, further, hsv=0, jitter=None)[seed, seed]
        outside = plain["valid"][0] == 0
        assert torch.equal(coloured["valid"], plain["valid"]) and (coloured["strong"][:, outside] == 0).all()
        assert not torch.equal(coloured["strong"], coloured["image"])
        moved += outside.any().item()
    assert moved, "no crop had padding: nothing was seen of where the image lies"


def test_without_colours_both_views_are_the_same_bits(dataset):
    same = lambda view, rng: {"strong": view.geometry.image(view.photo, Colours())}  # noqa: E731
    for seed in range(4):
        sample = samples(dataset, same, hsv=0, jitter=None)[seed, seed]
        assert torch.equal(sample["strong"], sample["image"])


def test_the_view_is_the_sample(dataset):
    seen = []
    sample = samples(dataset, lambda view, rng: seen.append(view) or {})[1, 9]
    assert seen[0].photo.shape == (64, 64, 3) and seen[0].photo.dtype == np.uint8
    assert np.array_equal(seen[0].crop, sample["image"].numpy()) and seen[0].geometry.crop == 48


# --- what is refused -----------------------------------------------------------------------------------


def test_dtypes_and_shapes_stay():
    for name in DTYPES:
        assert tensors({"a": np.zeros((2, 3), name)})["a"].numpy().dtype == name
    assert tensors({"a": np.float32(0.5)})["a"].shape == ()
    read_only = np.arange(4, dtype=np.int64)
    read_only.flags.writeable = False
    assert tensors({"a": read_only[::-1]})["a"].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "arrays, words",
    [
        (np.zeros(3, np.float32), "gives an array of float32; let it give arrays by name"),
        (None, "gives a NoneType; let it give arrays by name"),
        ({"image": np.zeros(3, np.float32)}, "the name 'image' is not free; choose a text other than id, image, label"),
        ({"saliency": np.zeros(3, np.float32)}, "the name 'saliency' is not free"),
        ({1: np.zeros(3, np.float32)}, "the name 1 is not free"),
        ({"valid": np.zeros(3)}, "valid is an array of float64; make it a NumPy array of .*float32"),
        ({"valid": [1, 2]}, "valid is a list; make it"),
        ({"valid": torch.zeros(3)}, "valid is a Tensor; make it"),
        ({"valid": np.array(["a"])}, "valid is an array of <U1"),
        ({"valid": np.array([None])}, "valid is an array of object"),
    ],
)
def test_what_no_batch_can_hold_is_named(dataset, arrays, words):
    with pytest.raises(UserError, match=f"further_arrays: {words}"):
        samples(dataset, lambda view, rng: arrays)[0, 0]


@pytest.mark.parametrize("other", [{"valid": np.zeros(4, np.float32)}, {}])
def test_arrays_that_differ_from_sample_to_sample(dataset, other):
    given = iter([{"valid": np.zeros(3, np.float32)}, other])
    some = samples(dataset, lambda view, rng: next(given))
    assert some[0, 0]["valid"].shape == (3,)
    with pytest.raises(UserError, match=r"further_arrays: gives .* and \{'valid': \(3,\)\} for another image; names and shapes"):
        some[1, 0]


@pytest.mark.parametrize("held", ["network", "tensor", "closure", "arrays"])
def test_what_holds_more_than_plain_values_is_refused_before_training(held):
    net = CPN(2, "resnet_small", {})
    further, words = {
        "network": (net.classification, "holds a CPN"),
        "tensor": (partial(strong_view, reach=torch.zeros(2)), "holds a Tensor"),
        "arrays": ({"valid": np.zeros(3)}, "a dict"),
        "closure": (lambda view, rng: {}, "cannot be handed to other processes"),
    }[held]
    with pytest.raises(UserError, match=f"further_arrays: .*{words}.*functools.partial"):
        require_plain(further)
