"""A method that breaks the contract is told what it did, in the words of the contract."""

import types

import pytest
import torch
from wsss.errors import UserError
from wsss.methods.base import CamOut, require_output
from wsss.methods.cam import CAM
from wsss.methods.sipe import SIPE
from wsss.sections.cam import Cam
from wsss.stages.cam import CamMaker
from wsss.train.loop import require_losses

Y = torch.eye(2)
TRUNK = {"bn": "train", "freeze": "none"}


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (torch.zeros(2, 2), "forward gave a Tensor; it must give a CamOut"),
        (CamOut(logits=torch.zeros(2, 3)), r"logits of shape \(2, 3\); .* \(B, C\) = \(2, 2\)"),
        (CamOut(logits=torch.zeros(2, 2, 1, 1)), r"logits of shape \(2, 2, 1, 1\)"),
    ],
)
def test_outputs(out, words):
    with pytest.raises(UserError, match=words):
        require_output(out, Y)


def test_what_is_right_passes():
    out = CamOut(logits=torch.zeros(2, 2))
    assert require_output(out, Y) is out and require_output(CamOut(), Y).logits is None
    losses = {"total": torch.ones((), requires_grad=True) * 2, "share": torch.ones(())}
    assert require_losses(losses) is losses


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (torch.zeros(()), 'loss gave a Tensor; it must give scalar tensors by name, with "total"'),
        ({"cls": torch.zeros(())}, "loss gave names cls; it must"),
        ({"total": torch.zeros(2)}, "loss gave total, which is no scalar tensor"),
        ({"total": torch.ones((), requires_grad=True), "extra": 0.5}, "loss gave extra, which is no scalar tensor"),
        ({"total": torch.ones(())}, "a total without a gradient"),
    ],
)
def test_losses(losses, words):
    with pytest.raises(UserError, match=words):
        require_losses(losses)


@pytest.mark.parametrize(("net", "given", "expected"), [(CAM, 3, "must be 2$"), (CAM, 1, "must be 2$"), (SIPE, 2, "must be 3 .background first")])
def test_another_number_of_maps_than_classes(net, given, expected):
    with pytest.raises(UserError, match=f"seed_maps gave {given} maps; for 2 classes .*{expected}"):
        net(2, "resnet_small", TRUNK).stored([torch.zeros(given, 4, 4)], Y[0], (16, 16), {})


def test_maps_of_the_mirror_images_too():
    net = CAM(2, "resnet_small", TRUNK).eval()
    net.seed_maps = lambda views, y: net({"image": views}, frozenset({"maps"})).maps  # the pair is not put together
    task = types.SimpleNamespace(settings={"scales": [1.0], "batch_size": 2})
    maker = CamMaker(task, None, [net], torch.device("cpu"))
    assert isinstance(maker.settings, Cam)
    with pytest.raises(UserError, match=r"maps of shape \(4, 2, .*; for 2 images, each with its mirror image, it must be \(2, n, h, w\)"):
        maker.maps({"y": Y, "scales": [torch.zeros(2, 3, 32, 32)]})
