import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from wsss.errors import UserError
from wsss.nets.deeplab import DeepLabV2
from wsss.nets.deeplab_v1 import DeepLabV1
from wsss.nets.heads import ASPP, balanced_mean, resize_label, valid_mean


def small(**options):
    torch.manual_seed(0)
    return DeepLabV2(3, "resnet_small", {"aspp_dilations": [1, 2], **options})


def batch(size=(65, 65), label=None, n=2):
    g = torch.Generator().manual_seed(1)
    shape = (n, *size)
    label = torch.randint(0, 4, shape, generator=g, dtype=torch.uint8) if label is None else label
    return {"image": torch.randn(n, 3, *size, generator=g), "label": label}


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (1, 1), (33, 200)])
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101", "resnet_small"])
def test_shapes(name, stride, size):
    with torch.device("meta"):
        net = DeepLabV2(20, name, {"output_stride": stride})
        logits = net.predict_logits(torch.empty(2, 3, *size))
    assert logits.shape == (2, 21, -(-size[0] // stride), -(-size[1] // stride))


def test_published_grid_and_head():
    with torch.device("meta"):
        net = DeepLabV2(20)
        logits = net(torch.empty(1, 3, 321, 321))
    assert [x.shape[-1] for x in logits] == [41, 20, 30, 41]
    assert sum(p.numel() for p in net.aspp.parameters()) == 1_548_372


def test_aspp_is_the_sum_of_its_branches():
    head = ASPP(8, 5, (1, 2, 3))
    x = torch.randn(2, 8, 7, 9)
    expected = sum(
        F.conv2d(x, conv.weight, conv.bias, padding=d, dilation=d) for d, conv in enumerate(head.convs, 1)
    )
    assert torch.allclose(head(x), expected, atol=1e-6)
    assert all(b.abs().sum() == 0 for b in head.biases())
    assert 0.009 < torch.cat([w.flatten() for w in ASPP(64, 21).weights()]).std() < 0.011


@pytest.mark.parametrize(
    "old, new", [((512, 512), (32, 32)), ((37, 50), (5, 7)), ((3, 4), (9, 9)), ((1, 1), (4, 2))]
)
def test_resize_label_is_pil_nearest(old, new):
    label = np.random.default_rng(0).integers(0, 256, old, dtype=np.uint8)
    expected = np.asarray(Image.fromarray(label).resize(new[::-1], Image.NEAREST))
    assert np.array_equal(resize_label(torch.from_numpy(label)[None], new)[0].numpy(), expected)


def test_resize_label_picks_pixel_8_of_16():
    label = torch.arange(64, dtype=torch.uint8).expand(1, 64, 64)
    assert resize_label(label, (4, 4))[0, 0].tolist() == [8, 24, 40, 56]


def test_losses_of_uniform_logits():
    net, zeros, label = small(), torch.zeros(2, 4, 9, 9), batch()["label"]
    assert net.pixel_loss(zeros, label).item() == pytest.approx(math.log(4), rel=1e-6)
    assert small(balanced=True).pixel_loss(zeros, label).item() == pytest.approx(math.log(4), rel=1e-6)


def test_plain_and_balanced_means_on_a_known_case():
    loss = torch.tensor([[[1.0, 2.0], [3.0, 100.0]]])
    label = torch.tensor([[[0, 0], [5, 255]]])
    assert valid_mean(loss, label).item() == pytest.approx(2.0)
    assert balanced_mean(loss, label).item() == pytest.approx((1.5 + 3.0) / 2)
    assert balanced_mean(loss[:, :1], label[:, :1]).item() == pytest.approx(0.75)


def test_msc_loss_is_the_sum_over_outputs():
    net, data = small().eval(), batch()
    outputs = net(data["image"])
    full, half, three_quarters, maximum = outputs
    resized = [F.interpolate(x, full.shape[-2:], mode="bilinear") for x in (half, three_quarters)]
    assert torch.equal(maximum, torch.stack([full, *resized]).amax(0))
    expected = sum(
        F.cross_entropy(x, resize_label(data["label"], x.shape[-2:]), ignore_index=255) for x in outputs
    )
    losses = net.loss(data, 0)
    assert losses["total"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(net.predict_logits(data["image"]), full)


def test_loss_without_msc_is_one_term():
    losses = small(msc=False).loss(batch(), 0)
    assert losses["total"].item() == losses["full"].item() and losses["scales"].item() == 0


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("value", [0, 2, 255])
def test_one_sided_batches_are_finite(balanced, value):
    net = small(balanced=balanced)
    data = batch(label=torch.full((2, 65, 65), value, dtype=torch.uint8))
    total = net.loss(data, 0)["total"]
    total.backward()
    grads = torch.cat([p.grad.flatten() for p in net.aspp.parameters()])
    assert torch.isfinite(total) and torch.isfinite(grads).all()
    assert (total.item() == 0 and grads.abs().sum() == 0) == (value == 255)


def test_param_groups_cover_what_is_trained():
    net = small()
    groups = net.param_groups()
    assert [g["lr_scale"] for g in groups] == [1, 10, 20]
    assert [g["weight_decay"] for g in groups] == [None, None, 0.0]
    in_groups = [p for g in groups for p in g["params"]]
    assert {id(p) for p in in_groups} == {id(p) for p in net.parameters() if p.requires_grad}
    assert len(in_groups) == len({id(p) for p in in_groups})
    assert not net.backbone.layer1[0].bn1.weight.requires_grad
    assert small(bn="train").backbone.layer1[0].bn1.weight.requires_grad


@pytest.mark.parametrize("net", [DeepLabV2, DeepLabV1])
def test_parts_of_the_trunk_can_be_frozen(net):
    assert all(p.requires_grad for p in net(3, "resnet_small", {"bn": "train"}).backbone.parameters())
    trunk = net(3, "resnet_small", {"bn": "train", "freeze": "stage1"}).backbone
    assert {n.split(".")[0] for n, p in trunk.named_parameters() if not p.requires_grad} == {"conv1", "bn1", "layer1"}


def test_batchnorm_statistics_follow_the_option():
    for bn, moves in (("frozen", False), ("train", True)):
        net = small(bn=bn).train()
        net.loss(batch(), 0)
        assert (net.backbone.bn1.running_mean.abs().sum() > 0) == moves


def test_learns():
    net = small(bn="train", msc=False, output_stride=16)
    data = batch((64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8))
    data["image"][:, :, :, 32:] += 3
    data["label"][:, :, 32:] = 2
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(15):
        losses.append(net.loss(data, step)["total"])
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.3 * losses[0]


def test_save_and_load(tmp_path):
    net = small(bn="train")
    net.loss(batch(), 0)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = DeepLabV2(3, "resnet_small", {"aspp_dilations": [1, 2]})
    again.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    x = torch.randn(1, 3, 40, 33)
    assert torch.equal(net.eval().predict_logits(x), again.eval().predict_logits(x))


def test_bad_choices():
    with pytest.raises(UserError, match="8 or 16"):
        small(output_stride=4)
    with pytest.raises(UserError, match="segmentation weights"):
        small().load_backbone({"conv1.weight": torch.ones(1)})
