"""SIPE's small functions against slow references, its quirks by option, and what is legal at the borders.

The released code's numbers: tests/released/test_golden_sipe.py.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from wsss import methods
from wsss.data.transforms import Geometry
from wsss.io.cam_forms import Form, StoredCam
from wsss.methods.base import CamOut
from wsss.methods.sipe import (
    agreement_loss,
    label_mask,
    normalised,
    prototype_maps,
    prototypes,
    structure_overlap,
    structure_seeds,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net_of(classes=3, **options):
    torch.manual_seed(0)
    return methods.get("sipe")(classes, "resnet_small", {"freeze": "none", "bn": "train", **options})


def batch_of(valid=None, y=((1, 0, 1), (0, 1, 0)), size=64):
    whole = torch.ones(2, 1, size, size) if valid is None else valid
    return {"image": noise(2, 3, size, size) * whole, "y": torch.tensor(y, dtype=torch.float32), "valid": whole}


def losses_of(net, batch):
    losses = net.loss(batch, net(batch, net.loss_want), 0)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    return {name: float(value.detach()) for name, value in losses.items()}


# --- seeds -------------------------------------------------------------------------------------------------


def slow_overlap(cam, features):
    """One pixel and one class at a time."""
    n, height, width = cam.shape
    cells = features.flatten(1).T
    cells = cells / (cells.norm(dim=1, keepdim=True) + 1e-5)
    out = np.zeros((n, height * width))
    for pixel, cell in enumerate(cells):
        like = torch.stack([(cell @ other).clamp(min=0) for other in cells])
        for k in range(n):
            inter = (like * cam[k].flatten()).sum()
            out[k, pixel] = inter / (like.sum() + cam[k].sum() - inter)
    return out.reshape(n, height, width)


def test_overlap_is_the_plain_sum_over_pixels():
    cam, features = noise(2, 4, 3, 5).sigmoid(), noise(2, 7, 3, 5, seed=1)
    found = structure_overlap(cam, features)
    for image in range(2):
        np.testing.assert_allclose(found[image], slow_overlap(cam[image], features[image]), atol=1e-5)


def test_seeds_are_one_class_a_pixel_and_background_counts_half():
    cam, features = noise(2, 4, 6, 5).sigmoid(), noise(2, 7, 6, 5, seed=1)
    seeds = structure_seeds(cam, features)
    assert (seeds.sum(1) == 1).all() and set(seeds.unique().tolist()) == {0.0, 1.0}
    weighed = structure_overlap(cam, features) * torch.tensor([0.5, 1, 1, 1])[None, :, None, None]
    assert torch.equal(seeds.argmax(1), weighed.argmax(1))


def test_seeds_follow_structure():
    """A map that leaks over half an object covers all of it, and leaves what looks otherwise."""
    features = torch.zeros(1, 2, 4, 8)
    features[:, 0, :, :4], features[:, 1, :, 4:] = 1, 1
    cam = torch.zeros(1, 2, 4, 8)
    cam[0, 1, :, :2] = 1
    cam[0, 0] = 1 - cam[0, 1]
    seeds = structure_seeds(cam, features)
    assert (seeds[0, 1, :, :4] == 1).all() and (seeds[0, 0, :, 4:] == 1).all()


# --- prototypes --------------------------------------------------------------------------------------------


def test_maps_are_cosines_that_no_height_changes():
    features, seeds = noise(2, 6, 4, 5), F.one_hot(torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1)), 3)
    seeds = seeds.permute(0, 3, 1, 2).float()
    maps = prototype_maps(features, seeds)
    for image in range(2):
        for k in range(3):
            mean = (features[image] * seeds[image, k]).mean((1, 2))
            torch.testing.assert_close(prototypes(features, seeds)[image, k], mean)
            expected = F.cosine_similarity(features[image], mean[:, None, None], dim=0).relu()
            torch.testing.assert_close(maps[image, k], expected)
    assert maps.min() >= 0 and maps.max() <= 1 + 1e-6
    torch.testing.assert_close(prototype_maps(1000 * features, seeds), maps)


def test_a_class_without_seeds_has_no_map_and_finite_gradients():
    features, seeds = noise(1, 6, 4, 5).requires_grad_(), torch.zeros(1, 3, 4, 5)
    seeds[:, 0] = 1
    maps = prototype_maps(features, seeds)
    assert not maps[:, 1:].any() and maps[:, 0].max() > 0
    agreement_loss(torch.ones(1, 3, 4, 5), maps).backward()
    assert torch.isfinite(features.grad).all()


def test_normalised_maps():
    logits = torch.tensor([[[[2.0, -1.0], [1.0, 0.0]], [[0.0, 0.0], [-3.0, 0.0]]]])
    cam = normalised(logits, (2, 2))
    torch.testing.assert_close(cam[0, 1], torch.tensor([[1.0, 0.0], [0.5, 0.0]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(cam[0, 0], torch.tensor([[0.0, 1.0], [0.5, 1.0]]), atol=1e-5, rtol=0)
    assert not cam[0, 2].any()  # no response at all
    assert normalised(logits, (3, 5)).shape == (1, 3, 3, 5)


# --- the loss ----------------------------------------------------------------------------------------------


def test_the_sample_says_where_the_image_is():
    net = net_of()
    view = type("View", (), {"geometry": Geometry((20, 30), False, 48, (-8, -5))})
    valid = net.further_arrays()(view, None)["valid"]
    assert valid.shape == (1, 48, 48) and valid.sum() == 20 * 30 and valid[0, 8:28, 5:35].all()


def test_the_mask_is_of_the_image_and_its_classes():
    valid = torch.zeros(1, 1, 32, 32)
    valid[..., 8:, :24] = 1
    mask = label_mask(valid, torch.tensor([[0.0, 1.0]]), (4, 4))
    expected = torch.zeros(4, 4)
    expected[1:, :3] = 1
    assert torch.equal(mask[0], torch.stack([expected, torch.zeros(4, 4), expected]))


def test_padding_and_absent_classes_are_out_of_the_consistency():
    """With all padding the maps are zero on both sides; gradients are finite, the classification is left."""
    net = net_of().train()
    found = losses_of(net, batch_of(valid=torch.zeros(2, 1, 64, 64)))
    assert found["gsc"] == 0 and found["total"] == pytest.approx(found["cls"])
    half = torch.ones(2, 1, 64, 64)
    half[..., 32:] = 0
    assert 0 < losses_of(net_of().train(), batch_of(valid=half))["gsc"] < losses_of(net_of().train(), batch_of())["gsc"]


@pytest.mark.parametrize("size", [33, 49])
def test_odd_crops(size):
    assert losses_of(net_of().train(), batch_of(size=size))["gsc"] > 0


def test_side_layers_do_not_teach_the_trunk():
    net = net_of().train()
    net(batch_of(), frozenset({"features"})).features["hierarchical"].sum().backward()
    assert all(p.grad is None for p in net.backbone.parameters())
    assert all(p.grad is not None for p in net.side.parameters())


# --- inference ---------------------------------------------------------------------------------------------


def views(size=(48, 64)):
    image = noise(1, 3, *size, seed=4)
    return torch.cat([image, image.flip(-1)])


Y = torch.tensor([[1.0, 0, 0]])


def halves(axis):
    """(2, 2, 4, 8) features that part the grid into left and right (axis 3), or top and bottom (2)."""
    features = torch.zeros(2, 2, 4, 8)
    one, other = features.split(features.shape[axis] // 2, axis)
    one[:, 0], other[:, 1] = 1, 1
    return features


@pytest.mark.parametrize("source", ["hierarchical", "layer4"])
def test_seeds_follow_the_features_that_the_option_names(source):
    net, maps = net_of(1, infer_seeds_from=source).eval(), -torch.ones(2, 1, 4, 8)
    maps[:, 0, :2, 2:6] = 1  # in the upper half; so is its mirror image
    looks = {"hierarchical": halves(3), "x5": halves(2)}
    net.forward = lambda batch, want: CamOut(maps=maps, features=looks)
    is_cam = net.seed_maps(torch.zeros(2, 3, 64, 128), torch.ones(1, 1))
    with_layer4 = structure_seeds(normalised(2 * maps[:1], (4, 8)), halves(2)[:1])
    assert (with_layer4[0, 1, :2] == 1).all() and (with_layer4[0, 0, 2:] == 1).all()
    # The hierarchical feature of the pair tells no half from the other: one class has all seeds.
    assert (is_cam[0, 0].max() > 0.9) and bool(is_cam[0, 1].any()) == (source == "layer4")


def test_absent_classes_win_nothing_where_they_do_not_compete():
    maps = net_of(absent_compete=False).eval().seed_maps(views(), Y)
    assert not maps[0, 2:].any() and maps[0, :2].amax((1, 2)).max() > 0.5


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_output_stride(stride):
    """At 32 layer4's grid is coarser than layer3's, on which all is compared."""
    net = net_of(output_stride=stride)
    assert losses_of(net.train(), batch_of())["gsc"] > 0
    side = {8: 8, 16: 4, 32: 4}[stride]
    assert net.eval().seed_maps(views((64, 64)), Y).shape[-2:] == (side, side)


def test_an_image_in_which_nothing_is_seen_is_legal():
    """Logits below zero everywhere: the background has all seeds, the class none, and its CAM is 0."""
    net = net_of(1).eval()
    with torch.no_grad():
        net.classifier.weight.zero_()
    y = torch.ones(1)
    rows, _ = net.stored(list(net.seed_maps(views(), y[None])), y, (48, 64), {})
    form = Form(net.spec.form, net.spec.geometry, net.spec.norm, (1.0,), net.spec.bg_map)
    cam, bg_map = form.read_both(StoredCam((0,), tuple(one.numpy() for one in rows)), (48, 64), (48, 64))
    assert not cam.any() and bg_map.max() == pytest.approx(1, abs=1e-4)
