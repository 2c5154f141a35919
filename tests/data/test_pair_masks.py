"""CPN's complementary pairs: superpixels and grid, their shares, and the way through the training set."""

import numpy as np
import pytest
import torch
from helpers import folder_dataset
from sections import augmentation_of
from skimage.segmentation import slic
from wsss.data.manifest import load_manifest
from wsss.data.pair_masks import denormalised, draw_pair, grid, superpixels
from wsss.data.torch_sets import TrainingSet
from wsss.data.transforms import normalise
from wsss.methods.cpn import CPN

OPTIONS = {"pair": "superpixels", "segments": 60, "compactness": 10, "grid_sizes": [16, 32]}
GRID = {**OPTIONS, "pair": "grid"}


def rng(seed=0):
    return np.random.default_rng(seed)


def texture(side=64, seed=0):
    """Patches of colour with noise, as uint8."""
    g = rng(seed)
    patches = g.integers(0, 256, (-(-side // 8), -(-side // 8), 3)).repeat(8, 0).repeat(8, 1)[:side, :side]
    return np.clip(patches + g.integers(-9, 10, patches.shape), 0, 255).astype(np.uint8)


def slow_superpixels(image, segments, compactness, generator):
    """Pixel by pixel, as released."""
    labels = slic(image, n_segments=segments, compactness=compactness, start_label=1)
    n = labels.max()
    hidden = set(generator.integers(0, n + 1, size=(n + 1) // 2).tolist())
    mask = np.zeros(labels.shape, bool)
    for i, j in np.ndindex(labels.shape):
        mask[i, j] = labels[i, j] not in hidden
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_look_up_equals_the_loop_over_pixels(seed):
    image = texture(seed=seed)
    found = superpixels(image, 60, 10, rng(seed))
    assert np.array_equal(found, slow_superpixels(image, 60, 10, rng(seed))) and 0 < found.mean() < 1


def test_hidden_share_is_the_published_one():
    """1 - exp(-1/2) = 39.3 %, not half: numbers are drawn with replacement."""
    image = texture(96)
    hidden = [1 - superpixels(image, 120, 10, rng(seed)).mean() for seed in range(60)]
    assert np.mean(hidden) == pytest.approx(1 - np.exp(-0.5), abs=0.02)


def test_superpixels_are_hidden_whole():
    image = texture()
    labels, visible = slic(image, n_segments=60, compactness=10, start_label=1), superpixels(image, 60, 10, rng())
    assert all(len(np.unique(visible[labels == label])) == 1 for label in np.unique(labels))


def slow_grid(size, side, generator):
    cells = [[generator.random() >= 0.5 for _ in range(0, size, side)] for _ in range(0, size, side)]
    mask = np.array([[cells[i // side][j // side] for j in range(size)] for i in range(size)])
    return mask, np.mean(cells)


@pytest.mark.parametrize("size, side", [(64, 16), (64, 64), (64, 24), (64, 100), (64, 1)])
def test_grid_equals_the_loop(size, side):
    for seed in range(5):
        (mask, share), (expected, cells) = grid((size, size), side, rng(seed)), slow_grid(size, side, rng(seed))
        assert np.array_equal(mask, expected) and share == pytest.approx(cells)


def test_grid_of_one_cell_hides_all_or_nothing():
    found = {(mask.mean(), float(share)) for mask, share in (grid((32, 32), 32, rng(s)) for s in range(20))}
    assert found == {(0.0, 0.0), (1.0, 1.0)}


def test_every_grid_size_is_drawn():
    crops = [draw_pair(normalise(texture()), rng(seed), {**GRID, "grid_sizes": [32, 64]})[1] for seed in range(60)]
    shares = set(np.round(crops, 3).tolist())
    assert {0.25, 0.5} <= shares and shares <= {0.0, 0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize("options", [OPTIONS, GRID], ids=["superpixels", "grid"])
@pytest.mark.parametrize("image", [np.full((16, 16, 3), 77, np.uint8), texture(16), texture(37), np.zeros((1, 1, 3), np.uint8)])
@pytest.mark.parametrize("segments", [1, 300])
def test_tiny_and_one_coloured_crops(options, image, segments):
    """More superpixels than pixels, one superpixel for all, or nothing to tell them apart."""
    for seed in range(4):
        mask, weight = draw_pair(normalise(image), rng(seed), {**options, "segments": segments})
        assert mask.shape == (1, *image.shape[:2]) and mask.dtype == weight.dtype == np.float32
        assert set(np.unique(mask)) <= {0.0, 1.0} and 0 <= weight <= 1


def test_weight_is_the_visible_share_of_pixels():
    mask, weight = draw_pair(normalise(texture()), rng(), OPTIONS)
    assert weight == pytest.approx(mask.mean(), rel=1e-6) and 0 < weight < 1


def test_denormalised_gives_the_bytes_back():
    image = texture(40)
    assert np.array_equal(denormalised(normalise(image)), image)
    assert denormalised(np.zeros((3, 1, 1), np.float32)).tolist() == [[[124, 116, 104]]]


@pytest.mark.parametrize("options", [OPTIONS, GRID], ids=["superpixels", "grid"])
def test_training_set_draws_the_pair_from_the_sample_seed(options, tmp_path):
    dataset = load_manifest(folder_dataset(tmp_path) / "manifest.csv")
    augmentation = augmentation_of({"resize": {"scale": [0.6, 1.4]}, "flip": 0.5, "crop": 48})
    paired = TrainingSet(dataset, dataset.split("trainaug"), augmentation, further=CPN(2, "resnet_small", options).further_arrays())
    alone = TrainingSet(dataset, dataset.split("trainaug"), augmentation)
    first, again, other = paired[0, 5], paired[0, 5], paired[0, 6]
    assert torch.equal(first["pair_mask"], again["pair_mask"]) and not torch.equal(first["pair_mask"], other["pair_mask"])
    assert first["pair_mask"].shape == (1, 48, 48) and first["pair_weight"].shape == ()
    assert first["pair_mask"].dtype == first["pair_weight"].dtype == torch.float32
    assert torch.equal(first["image"], alone[0, 5]["image"]) and "pair_mask" not in alone[0, 5]
    batch = torch.utils.data.default_collate([first, other])
    assert batch["pair_weight"].shape == (2,) and batch["pair_weight"].dtype == torch.float32
