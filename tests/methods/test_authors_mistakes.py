"""A method that breaks the contract is told what it did, in the words of the contract."""

import types

import pytest
import torch
from wsss.errors import UserError
from wsss.methods.base import CamOut, Spec, flip_pair_sum, group, require_output, trainable
from wsss.methods.cam import CAM
from wsss.methods.probe import probe_maps
from wsss.methods.sipe import SIPE
from wsss.sections.cam import Cam
from wsss.stages.cam import CamMaker
from wsss.stages.classifier import learner_of
from wsss.train.loop import require_losses
from wsss.train.optim import require_all_learn

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


def seen_by_the_probe(maps, norm="max"):
    """What the look before the training says of a CAM whose `seed_maps` are `maps` of its own."""

    class Own(CAM):
        def seed_maps(self, views, y):
            return maps(self({"image": views}, frozenset({"maps"})).maps)

        @classmethod
        def spec_for(cls, options=None):
            return Spec(stride=16, norm=norm)

    net = Own(2, "resnet_small", TRUNK)
    state = torch.random.get_rng_state()
    before = [value.clone() for value in net.state_dict().values()]
    try:
        probe_maps(net)
    finally:
        assert net.training and torch.equal(torch.random.get_rng_state(), state)
        assert all(torch.equal(old, new) for old, new in zip(before, net.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (lambda maps: -flip_pair_sum(maps.relu()), r"values below 0 \(.*\.relu\(\)"),
        (lambda maps: maps.relu(), "each with its mirror image, it must be .1, n, h, w"),
        (lambda maps: flip_pair_sum(maps)[..., :0], r"shape \(1, 2, 8, 0\)"),
        (lambda maps: list(maps), "seed_maps gave a list; it must give a tensor"),
        (lambda maps: flip_pair_sum(maps.relu()) * float("nan"), "values that are not finite"),
    ],
)
def test_maps_are_looked_at_before_the_training(maps, words):
    with pytest.raises(UserError, match=words):
        seen_by_the_probe(maps)


def test_maps_that_other_norms_take():
    seen_by_the_probe(flip_pair_sum, "cut_min_max")
    seen_by_the_probe(lambda maps: flip_pair_sum(maps.relu()))


class Attention(CAM):
    """A layer that is in no group, or in a list that PyTorch does not see."""

    def __init__(self, *args, as_list=False, **more):
        super().__init__(*args, **more)
        layer = torch.nn.Conv2d(3, 3, 1)
        self.attention = [layer] if as_list else layer

    def param_groups(self):
        hidden = self.attention if isinstance(self.attention, list) else []
        return [*super().param_groups(), *([group(trainable(*hidden))] if hidden else [])]


@pytest.mark.parametrize(
    ("as_list", "words"),
    [(False, "classifier: attention.weight, attention.bias would not learn.*new_layers"), (True, "2 parameters of param_groups are not of the network.*nn.ModuleList")],
)
def test_layers_that_would_not_learn_or_not_be_saved(as_list, words):
    net = Attention(2, "resnet_small", TRUNK, as_list=as_list)
    with pytest.raises(UserError, match=words):
        require_all_learn(net, net.param_groups(), "classifier")


def test_what_the_batch_or_the_output_has_not():
    net = CAM(2, "resnet_small", TRUNK)
    batch = {"id": ["a", "b"], "image": torch.zeros(2, 3, 32, 32), "y": Y}
    net.loss = lambda batch, out, step: {"total": batch["grey"].sum()}
    with pytest.raises(UserError, match="net: a batch has no 'grey'; it holds id, image, y, what further_arrays gives"):
        learner_of(net).step_loss(batch, 0)
    net.loss = lambda batch, out, step: {"total": out.views["grey"].logits.sum()}
    with pytest.raises(UserError, match="net: forward gave no 'grey'; it was asked for logits .loss_want"):
        learner_of(net).step_loss(batch, 0)
    net.loss = lambda batch, out, step: {"total": net.options["margin"]}
    with pytest.raises(KeyError, match="margin"):  # a mistake of another kind keeps its traceback
        learner_of(net).step_loss(batch, 0)


class Keeping(CAM):
    """Makes a tensor in its first pass, and keeps it."""

    def forward(self, batch, want=frozenset({"logits"})):
        if not hasattr(self, "scale"):
            self.scale = torch.ones(1)
        out = super().forward(batch, want)
        out.logits = None if out.logits is None else out.logits * self.scale
        return out


def test_the_look_before_the_training_leaves_nothing_behind():
    net = Keeping(2, "resnet_small", TRUNK)
    probe_maps(net)
    batch = {"id": ["a", "b"], "image": torch.zeros(2, 3, 32, 32), "y": Y}
    net.loss(batch, net(batch), 0)["total"].backward()


def test_gradients_in_seed_maps():
    def grad_cam(maps):
        torch.autograd.grad(maps.sum(), [torch.ones(1, requires_grad=True)])

    with pytest.raises(UserError, match="seed_maps asks for gradients, and CAMs are made without"):
        seen_by_the_probe(grad_cam)


def test_maps_of_absent_classes_may_be_anything():
    """They are not stored."""

    def masked(views, y):
        maps = flip_pair_sum(net({"image": views}, frozenset({"maps"})).maps.relu())
        return maps.masked_fill(y[..., None, None] == 0, float("-inf"))

    net = CAM(2, "resnet_small", TRUNK)
    net.seed_maps = masked
    probe_maps(net)
