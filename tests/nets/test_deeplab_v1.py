"""DeepLab-V1 with a large field of view: sizes, gradients, what learns, and its place in recipes."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import Chain, folder_dataset
from wsss.errors import UserError
from wsss.io.masks import read_mask
from wsss.nets import segmenters
from wsss.nets.deeplab_v1 import DEFAULTS, DeepLabV1
from wsss.nets.norm import BatchNorm
from wsss.recipes.merge import merge


def small(**options):
    torch.manual_seed(0)
    return DeepLabV1(3, "resnet_small", {"fov_channels": 16, "fov_dilation": 2, **options})


def batch(label=None, size=(49, 66)):
    g = torch.Generator().manual_seed(1)
    label = torch.randint(0, 4, (2, *size), generator=g, dtype=torch.uint8) if label is None else label
    return {"image": torch.randn(2, 3, *size, generator=g), "label": label}


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (1, 1), (33, 200)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet38d"])
def test_logits_have_the_size_of_the_image(name, size):
    with torch.device("meta"):
        net = DeepLabV1(20, name).eval()
        assert net.predict_logits(torch.empty(2, 3, *size)).shape == (2, 21, *size)


def test_published_head():
    with torch.device("meta"):
        net = DeepLabV1(20)
    sizes = [tuple(p.shape) for p in net.head.parameters() if p.dim() == 4]
    assert sizes == [(512, 4096, 3, 3), (512, 512, 1, 1), (21, 512, 1, 1)]
    assert net.head[0].dilation == net.head[0].padding == (12, 12)
    assert sum(p.numel() for p in net.head.parameters()) == 512 * 4096 * 9 + 512 * 512 + 4 * 512 + 21 * 513
    assert {m.momentum for m in net.modules() if isinstance(m, BatchNorm)} == {3e-4}


def test_loss_is_cross_entropy_at_image_size_over_known_pixels():
    net, sample = small(dropout=0.0).eval(), batch()
    sample["label"][:, :20] = 255
    logits = F.interpolate(
        net.head(net.backbone(sample["image"])[-1]), size=(49, 66), mode="bilinear", align_corners=True
    )
    expected = F.cross_entropy(logits, sample["label"].long(), ignore_index=255)
    torch.testing.assert_close(net.loss(sample, 0)["total"], expected)


def test_loss_without_any_known_pixel_is_zero_with_finite_gradients():
    net = small()
    total = net.loss(batch(torch.full((2, 49, 66), 255, dtype=torch.uint8)), 0)["total"]
    total.backward()
    assert total == 0 and all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("bn, affine, moves", [("frozen", 0, False), ("statistics", 1, False), ("affine", 0, True), ("train", 1, True)])
def test_what_of_batchnorm_learns(bn, affine, moves):
    net = small(bn=bn, bn_momentum=0.1).train()
    norms = [m for m in net.backbone.modules() if isinstance(m, BatchNorm)]
    before = [m.running_mean.clone() for m in norms]
    net.loss(batch(), 0)["total"].backward()
    assert all((m.weight.grad is not None) == bool(affine) for m in norms)
    assert any(not torch.equal(m.running_mean, old) for m, old in zip(norms, before, strict=True)) == moves


def test_groups_hold_every_trainable_parameter_once():
    net = small(head_lr_scale=10)
    groups = net.param_groups()
    listed = [id(p) for g in groups for p in g["params"]]
    assert sorted(listed) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert [(g["lr_scale"], g["weight_decay"]) for g in groups] == [(1, None), (10, None), (20, 0)]
    assert groups[2]["params"] == [net.head[-1].bias]


def test_one_image_is_learnt():
    net, sample = small(bn="train", bn_momentum=0.5), batch(size=(32, 32))
    sample["image"] = F.avg_pool2d(sample["image"], 9, 1, 4)
    sample["label"] = (sample["image"][:, 0] > 0).to(torch.uint8)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for step in range(25):
        loss = net.loss(sample, step)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_another_net_drops_the_options_of_the_first_only():
    old = {"segmentation": {"lr": 1, "options": {"msc": True, "output_stride": 8}}}
    turned = merge(old, {"segmentation": {"net": "deeplab_v1", "options": {"dropout": 0.1}}})
    assert turned["segmentation"] == {"lr": 1, "net": "deeplab_v1", "options": {"dropout": 0.1}}
    back = merge(turned, {"segmentation": {"net": "deeplab_v2", "options": {"msc": False}}})
    assert back["segmentation"]["options"] == {"msc": False}
    same = merge(old, {"segmentation": {"net": "deeplab_v2", "options": {"bn": "train"}}})
    assert same["segmentation"]["options"] == {"msc": True, "output_stride": 8, "bn": "train"}


def test_an_option_of_the_other_net_is_named():
    with pytest.raises(UserError, match="own.yaml: options: net deeplab_v1 has no option msc; it knows .*fov_dilation"):
        segmenters.require_options("deeplab_v1", {"msc": True, "bn": "train"}, "own.yaml")
    segmenters.require_options("deeplab_v1", DEFAULTS, "own.yaml")


def test_it_trains_and_predicts_in_its_stages(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", ((64, 64), (64, 80), (40, 50)), masks=True))
    options = {"fov_channels": 16, "fov_dilation": 2, "bn": "train", "bn_momentum": 0.1}
    network = {"net": "deeplab_v1", "backbone": "resnet_small", "options": options}
    augmentation = {"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 48, "hsv": 10}
    settings = {**chain.recipe["segmentation"], "net": "deeplab_v1", "options": options, "augmentation": augmentation}
    chain.run("segmentation", network=network, settings=settings)
    folder = chain.run("predictions", {"model": "segmentation/model.safetensors"}, network=network)
    ids = json.loads((folder / "index.json").read_text())["ids"]
    sizes = [read_mask(folder / f"{item}.png").shape for item in ids]
    assert sizes == [(64, 64), (64, 80), (40, 50)]
    assert set(np.unique(read_mask(folder / f"{ids[0]}.png"))) <= {0, 1, 2}
    with pytest.raises(UserError, match="holds another network than the recipe's"):
        chain.run("predictions", {"model": "segmentation/model.safetensors"}, into="v2")
