import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cam_reference import form_of
from PIL import Image
from wsss.errors import UserError
from wsss.io.cam_forms import StoredCam
from wsss.methods.amn import AMN, smoothed_cross_entropy
from wsss.methods.base import CamOut
from wsss.nets.heads import balanced_mean


def count(module, only_trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not only_trainable)


def small(classes=3, **options):
    torch.manual_seed(0)
    return AMN(classes, "resnet_small", {"aspp_dilations": [1, 2], **options})


def amn_loss(logits, label, smoothing=0.4):
    return balanced_mean(smoothed_cross_entropy(logits, label, smoothing), label).item()


@pytest.mark.parametrize("classes, encoder, aspp", [(20, 43_008, 1_548_372), (80, 165_888, 5_972_292)])
def test_parameter_counts(classes, encoder, aspp):
    with torch.device("meta"):
        net = AMN(classes, "resnet50", {})
    assert count(net.label_encoder) == encoder and count(net.classifier) == aspp
    assert count(net) == 23_508_032 + encoder + aspp
    if classes == 20:
        assert count(net) == 25_099_412 and count(net, only_trainable=True) == 25_089_876


def test_map_shape():
    with torch.device("meta"):
        batch = {"image": torch.empty(1, 3, 321, 321), "y": torch.empty(1, 20)}
        assert AMN(20, "resnet50", {})(batch).maps.shape == (1, 21, 21, 21)


def test_learning_rates_are_the_published_ratio():
    scales = [g["lr_scale"] for g in small().param_groups()]
    assert scales[1] * 5e-6 == pytest.approx(1e-4) and scales[0] == 1


@pytest.mark.parametrize("channels, expected", [(21, 3.044522), (81, 4.394449)])
def test_loss_of_zero_logits(channels, expected):
    label = torch.tensor([[[0, 3], [5, 255]]])
    assert amn_loss(torch.zeros(1, channels, 2, 2), label) == pytest.approx(expected, abs=1e-6)


def test_loss_of_a_known_case():
    logits = torch.zeros(1, 21, 2, 2)
    logits[:, 0] = 2
    assert amn_loss(logits, torch.tensor([[[0, 0], [5, 255]]])) == pytest.approx(2.690144, abs=1e-6)


@pytest.mark.parametrize("channels, bound", [(21, 1.871305), (81, 2.425822)])
def test_lower_bound_is_the_entropy_of_the_target(channels, bound):
    label = torch.tensor([[[0, 3]]])
    target = torch.full((1, channels, 1, 2), 0.4 / (channels - 1))
    target[0, 0, 0, 0] = target[0, 3, 0, 1] = 0.6
    assert amn_loss(target.log(), label) == pytest.approx(bound, abs=1e-6)
    assert amn_loss(3 * target.log(), label) > bound


def test_without_smoothing_it_is_cross_entropy():
    logits, label = torch.randn(2, 5, 4, 4), torch.randint(0, 5, (2, 4, 4))
    expected = F.cross_entropy(logits, label, reduction="none")
    assert torch.allclose(smoothed_cross_entropy(logits, label, 0.0), expected, atol=1e-5)


def test_loss_reads_the_label_as_pil_resizes_it():
    label = np.random.default_rng(0).integers(0, 4, (64, 80), dtype=np.uint8)
    resized = torch.from_numpy(np.array(Image.fromarray(label).resize((5, 4), Image.NEAREST)))[None].long()
    logits = torch.randn(1, 4, 4, 5)
    loss = small().loss({"label": torch.from_numpy(label)[None]}, CamOut(maps=logits), 0)["total"]
    assert loss.item() == pytest.approx(amn_loss(logits, resized), rel=1e-6)


def test_batch_of_ignored_pixels_gives_zero_and_no_gradient():
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    label = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    loss = small().loss({"label": label}, CamOut(maps=logits), 0)["total"]
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().sum() == 0


def test_labels_scale_the_features():
    net = small().eval()
    image, y = torch.randn(1, 3, 64, 64), torch.tensor([[1.0, 0.0, 1.0]])
    feature = net.backbone(image)[-1] * net.label_encoder(y)[..., None, None]
    assert torch.allclose(net({"image": image, "y": y}).maps, net.classifier(feature))


def test_dropout_only_in_training():
    net = small()
    batch = {"image": torch.randn(1, 3, 64, 64), "y": torch.ones(1, 3)}
    assert not torch.equal(net(batch).maps, net(batch).maps)
    net.eval()
    assert torch.equal(net(batch).maps, net(batch).maps)


def test_flips_are_averaged_as_logits():
    net = small().eval()
    image, y = torch.randn(1, 3, 48, 64), torch.tensor([[1.0, 0.0, 0.0]])
    plain, mirrored = (net({"image": x, "y": y}).maps for x in (image, image.flip(-1)))
    seeds = net.seed_maps(torch.cat([image, image.flip(-1)]), y)
    assert torch.allclose(seeds, (plain + mirrored.flip(-1)) / 2, rtol=1e-4, atol=1e-4)


def test_softmax_over_all_classes_then_min_max_off_background():
    """On the walk's grid, where maps of that size are resized nowhere; what all classes share cancels."""
    y, size, logits = torch.tensor([0.0, 1.0, 1.0]), (8, 12), torch.randn(4, 2, 3)
    maps = [logits + torch.randn(1, 2, 3), 2 * logits, torch.zeros(4, 2, 3)]
    cells = np.array([[0, 0, 255], [2, 0, 3]], np.uint8)
    probs = torch.softmax(logits, 0)[2:].numpy()
    low, high = probs.min((1, 2), keepdims=True), probs.max((1, 2), keepdims=True)
    stretched = (probs - low) / (high - low + 1e-5)
    for trick, expected in ((True, np.where(cells == 0, probs, stretched)), (False, stretched)):
        net, aux = small(mask_trick=trick), {"ir_labels": cells.repeat(4, 0).repeat(4, 1)} if trick else {}
        rows, extras = net.stored(maps, y, size, aux)
        stored = StoredCam((1, 2), tuple(row.numpy() for row in rows), extras)
        np.testing.assert_allclose(form_of(net).read(stored, size, (2, 3)), expected, atol=1e-6)


def test_mask_trick_needs_the_label():
    assert AMN.spec_for({}).aux == {"ir_labels"} and not AMN.spec_for({"mask_trick": False}).aux
    with pytest.raises(UserError, match="mask_trick: false"):
        small().stored([torch.zeros(4, 2, 2)], torch.ones(3), (8, 8), {})


def test_spec():
    spec = AMN.spec_for({})
    assert (spec.geometry, spec.form, spec.norm, spec.stride) == ("stretch", "softmax", "min_max", 16)
    assert spec.needs == {"ir_labels"}


def test_learns_labels():
    net = small(1, bn="train", freeze="none").train()
    image = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    image[:, :, :, 32:] += 2
    label = torch.zeros(4, 64, 64, dtype=torch.uint8)
    label[:, :, 32:] = 1
    batch = {"image": image, "y": torch.ones(4, 1), "label": label}
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for step in range(12):
        losses.append(net.loss(batch, net(batch), step)["total"])
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    floor = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert floor <= losses[-1].item() < floor + 0.4 * (losses[0].item() - floor)
