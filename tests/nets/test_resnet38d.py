"""ResNet38d against a slow, plain reference and the published sizes; the trunk in every network that takes one."""

import shutil

import pytest
import torch
import torch.nn.functional as F
import yaml
from helpers import REPOSITORY, copy_project, snakemake
from small_methods import make_batch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from wsss import methods
from wsss.errors import UserError
from wsss.nets.backbones import build_backbone, freeze_parts, load_pretrained
from wsss.nets.deeplab import DeepLabV2
from wsss.nets.norm import BatchNorm, norm_relu
from wsss.nets.resnet38d import BasicUnit, BottleneckUnit, ResNet38d
from wsss.recipes.config import Config
from wsss.recipes.net_options import option_names
from wsss.refine.boundary_net import IrnNet

# name: (kind, in, mid, out, stride, first dilation, dilation), from the published table.
UNITS = {
    "b2": ("R", 64, 128, 128, 2, 1, 1), "b2_1": ("R", 128, 128, 128, 1, 1, 1), "b2_2": ("R", 128, 128, 128, 1, 1, 1),
    "b3": ("R", 128, 256, 256, 2, 1, 1), "b3_1": ("R", 256, 256, 256, 1, 1, 1), "b3_2": ("R", 256, 256, 256, 1, 1, 1),
    "b4": ("R", 256, 512, 512, 2, 1, 1), **{f"b4_{i}": ("R", 512, 512, 512, 1, 1, 1) for i in range(1, 6)},
    "b5": ("R", 512, 512, 1024, 1, 1, 2), "b5_1": ("R", 1024, 512, 1024, 1, 2, 2), "b5_2": ("R", 1024, 512, 1024, 1, 2, 2),
    "b6": ("B", 1024, 512, 2048, 1, 4, 4), "b7": ("B", 2048, 1024, 4096, 1, 4, 4),
}  # fmt: skip
SIZES = {
    "conv1a": 1728, "b2": 229_760, "b2_1": 295_424, "b3": 918_272, "b3_1": 1_180_672, "b4": 3_671_552, "b4_1": 4_720_640,
    "b5": 7_604_224, "b5_1": 9_440_256, "b6": 9_442_304, "b7": 37_758_976, "bn7": 8192,
}  # fmt: skip


def meta(**options):
    with torch.device("meta"):
        return build_backbone("resnet38d", **options)


def narrow(bn="frozen", seed=0, width=4, freeze="none"):
    """The same network, 16 times narrower, with statistics and affines that are not 0 and 1."""
    torch.manual_seed(seed)
    net = ResNet38d(bn=bn, width=width)
    freeze_parts(net, freeze)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
    return net


def state_of(net):
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def count(module, trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


# --- published sizes


def test_golden_tensors_and_parameters():
    net = meta()
    assert len(state_of(net)) == 191 and sum(v.numel() for v in state_of(net).values()) == 105_118_656
    assert count(net) == 105_070_912
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 43
    assert sum(isinstance(m, BatchNorm) and m.eps == 1e-5 for m in net.modules()) == 37
    assert {name: count(getattr(net, name)) for name in SIZES} == SIZES
    assert [name for name, _ in net.named_children()] == ["conv1a", *UNITS, "bn7"]


def test_golden_shapes_of_b6():
    state = meta().state_dict()
    shapes = {key.split(".")[1]: tuple(v.shape) for key, v in state.items() if key.startswith("b6.conv")}
    assert shapes == {
        "conv_branch2a": (512, 1024, 1, 1),
        "conv_branch2b1": (1024, 512, 3, 3),
        "conv_branch2b2": (2048, 1024, 1, 1),
        "conv_branch1": (2048, 1024, 1, 1),
    }


def test_trainable_after_freezing_the_first_stage():
    assert count(meta(), trainable=True) == 105_023_168  # no BatchNorm learns
    net = meta(freeze="stage1")
    assert sum(isinstance(m, nn.Conv2d) and not m.weight.requires_grad for m in net.modules()) == 8
    assert count(net, trainable=True) + 20 * 4096 == 104_284_160
    assert count(net, trainable=True) + 21 * 4096 == 104_288_256


@pytest.mark.parametrize(
    "size, quarter, eighth",
    [
        ((448, 448), (112, 112), (56, 56)),
        ((321, 321), (81, 81), (41, 41)),
        ((375, 500), (94, 125), (47, 63)),
        ((134, 562), (34, 141), (17, 71)),
        ((1000, 1), (250, 1), (125, 1)),
    ],
)
def test_tap_shapes(size, quarter, eighth):
    net = meta()
    taps = net(torch.empty(1, 3, *size, device="meta"))
    assert [tuple(t.shape[2:]) for t in taps] == [quarter, quarter, eighth, eighth, eighth]
    assert [t.shape[1] for t in taps] == net.out_channels == [256, 256, 512, 1024, 4096]
    assert net.tap_strides == (4, 4, 8, 8, 8) and net.output_stride == 8


@pytest.mark.parametrize("side, gflop", [(448, 798.1), (321, 425.1)])
def test_golden_cost(side, gflop):
    net = meta()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, side, side, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, abs=0.05)


# --- the plain reference


def plain_bn_relu(state, name, x):
    mean, var, weight, bias = (
        state[f"{name}.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)


def plain_unit(state, name, x):
    kind, inputs, _, outputs, stride, first, dilation = UNITS[name]
    conv = lambda layer, x, **how: F.conv2d(x, state[f"{name}.conv_{layer}.weight"], **how)  # noqa: E731
    t = plain_bn_relu(state, f"{name}.bn_branch2a", x)
    if kind == "R":
        shortcut = x if inputs == outputs and stride == 1 else conv("branch1", t, stride=stride)
        y = conv("branch2a", t, stride=stride, padding=first, dilation=first)
        y = conv(
            "branch2b1", plain_bn_relu(state, f"{name}.bn_branch2b1", y), padding=dilation, dilation=dilation
        )
    else:
        shortcut = conv("branch1", t)
        y = plain_bn_relu(state, f"{name}.bn_branch2b1", conv("branch2a", t))
        y = plain_bn_relu(
            state, f"{name}.bn_branch2b2", conv("branch2b1", y, padding=dilation, dilation=dilation)
        )
        y = conv("branch2b2", y)
    return t, y + shortcut


def plain_taps(state, image):
    x, taps = F.conv2d(image, state["conv1a.weight"], padding=1), []
    for name in UNITS:
        t, x = plain_unit(state, name, x)
        if name == "b3":
            taps.append(x)
        elif name in ("b4", "b5", "b6"):
            taps.append(t)
    return [*taps, plain_bn_relu(state, "bn7", x)]


@pytest.mark.parametrize("size", [(65, 47), (64, 64), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_taps_equal_the_plain_reference(size, layout):
    net = narrow().eval().to(memory_format=layout)
    image = torch.randn(2, 3, *size)
    for ours, plain in zip(
        net(image.to(memory_format=layout)), plain_taps(net.state_dict(), image), strict=True
    ):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_gradients_equal_the_plain_reference():
    net = narrow().double().eval()
    image = torch.randn(2, 3, 40, 33, dtype=torch.float64)
    state = {k: v.detach().clone().requires_grad_(v.dim() == 4) for k, v in state_of(net).items()}
    for taps in (net(image), plain_taps(state, image)):
        sum((tap * tap.detach().cos()).sum() for tap in taps).backward()
    for key, parameter in net.named_parameters():
        if parameter.dim() == 4:
            torch.testing.assert_close(parameter.grad, state[key].grad)


def test_full_width_units_equal_the_plain_reference():
    torch.manual_seed(0)
    for name, unit in (
        ("b5", BasicUnit(512, 512, 1024, first=1, dilation=2)),
        ("b6", BottleneckUnit(1024, 2048, 4, 0.3)),
    ):
        x = torch.randn(1, UNITS[name][1], 9, 11)
        state = {f"{name}.{k}": v for k, v in unit.state_dict().items()}
        torch.testing.assert_close(unit.eval()(x), plain_unit(state, name, x)[1], rtol=1e-4, atol=1e-4)


def test_random_weights_are_a_function_of_the_seed():
    first, again, other = narrow(), narrow(), narrow(seed=1)
    assert torch.equal(first.b7.conv_branch2a.weight, again.b7.conv_branch2a.weight)
    assert not torch.equal(first.b7.conv_branch2a.weight, other.b7.conv_branch2a.weight)


# --- BatchNorm and dropout


def test_frozen_batchnorm_never_moves():
    net = narrow(freeze="stage1").train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        net(torch.randn(2, 3, 40, 40))[-1].square().mean().backward()
        optimiser.step()
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    stem = ("conv1a", "b2.", "b2_1.", "b2_2.")
    assert moved == {k for k in before if ".conv_" in k and not k.startswith(stem)}


def test_trained_batchnorm_learns_except_where_frozen():
    net = narrow(bn="train", freeze="stage2").train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.randn(2, 3, 40, 40))[-1].sum().backward()
    moved = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"b4", "b4_1", "b4_2", "b4_3", "b4_4", "b4_5", "b5", "b5_1", "b5_2", "b6", "b7", "bn7"}
    assert net.bn7.weight.grad is not None and net.b3.bn_branch2a.weight.grad is None


def test_constant_norm_keeps_nothing_but_its_result():
    norm = BatchNorm(3).requires_grad_(False)
    norm.frozen = True
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
        out = norm_relu(norm, x)
    assert sorted(map(tuple, saved)) == [(2, 3, 5, 5), (3,)]
    torch.testing.assert_close(out, F.relu(norm(x)))
    assert torch.autograd.gradcheck(
        lambda x: norm_relu(norm.double(), x), x.detach().double().requires_grad_()
    )


def test_dropout_works_in_training_only():
    net = narrow().train()
    assert (net.b6.dropout.p, net.b7.dropout.p) == (0.3, 0.5)
    assert isinstance(net.b6.dropout, nn.Dropout2d)
    image = torch.randn(1, 3, 40, 40)
    assert not torch.equal(net(image)[-1], net(image)[-1])
    assert torch.equal(net.eval()(image)[-1], net(image)[-1])
    assert torch.equal(net.train()(image)[3], net.eval()(image)[3])  # before b6


def test_channels_last_changes_nothing_on_the_cpu():
    plain, other = narrow().train(), narrow().train().to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 40, 40)
    for net, x in ((plain, image), (other, image.to(memory_format=torch.channels_last))):
        torch.manual_seed(1)
        net(x)[-1].sum().backward()
    pairs = zip(plain.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)


def test_inference_mode_leaves_a_net_that_trains():
    net = narrow().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        net(torch.randn(1, 3, 24, 24))
    net(torch.randn(1, 3, 24, 24))[-1].sum().backward()


def test_half_precision_step_is_finite():
    net = narrow().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        taps = net(torch.randn(2, 3, 40, 40))
    taps[-1].float().mean().backward()
    assert taps[-1].dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


# --- in the networks and the config


def test_other_strides_and_norms_are_refused():
    for strides in ((2, 2, 1), (2, 2, 2), (1, 1, 1)):
        with pytest.raises(UserError, match=r"output stride 8 only; set net_options.*\{output_stride: 8\}"):
            meta(strides=strides)
    with pytest.raises(UserError, match="frozen, statistics, affine, train"):
        meta(bn="sync")


def test_weights_load_strictly():
    source, net = narrow(), narrow(seed=1)
    load_pretrained(net, {k: v.half() for k, v in state_of(source).items()})
    assert torch.equal(net.b4.conv_branch1.weight, source.b4.conv_branch1.weight.half().float())
    with pytest.raises(UserError, match="missing"):
        load_pretrained(net, {k: v for k, v in state_of(source).items() if k != "bn7.weight"})


@pytest.mark.parametrize("displacement", [False, True])
def test_irn_takes_its_grids_from_the_trunk(displacement):
    with torch.device("meta"):
        net = IrnNet("resnet38d", displacement=displacement)
        for size in ((96, 64), (65, 47)):
            out = net(torch.empty(1, 3, *size))
            grid = tuple((side - 1) // 4 + 1 for side in size)
            assert out.edge.shape == (1, *grid)
            assert not displacement or out.displacement.shape == (1, 2, *grid)
    assert count(net.backbone, trainable=True) == 0


def test_deeplab_on_resnet38d():
    with torch.device("meta"):
        net = DeepLabV2(20, "resnet38d", {"bn": "frozen"})
        assert net.predict_logits(torch.empty(1, 3, 65, 47)).shape == (1, 21, 9, 6)
        with pytest.raises(UserError, match="output stride 8 only"):
            DeepLabV2(20, "resnet38d", {"output_stride": 16})


@pytest.mark.parametrize("freeze, parts", [("stage3", ("conv1a", "b2", "b3", "b4")), ("stage2", ("conv1a", "b2", "b3")), ("stage1", ("conv1a", "b2"))])
def test_cam_freezes_what_its_options_say(freeze, parts):
    with torch.device("meta"):
        net = methods.get("cam")(20, "resnet38d", {"output_stride": 8, "freeze": freeze})
    learns = {
        name.split(".")[0].split("_")[0] for name, p in net.backbone.named_parameters() if p.requires_grad
    }
    assert learns == {"conv1a", "b2", "b3", "b4", "b5", "b6", "b7", "bn7"} - set(parts)


@pytest.mark.parametrize("name", sorted(name for name in methods.METHODS if "output_stride" in option_names(name)))
def test_one_step_of_every_method(name):
    """The full net once: 105 M parameters, a 32 x 32 image."""
    torch.manual_seed(0)
    options = {"output_stride": 8}
    net = methods.get(name)(3, "resnet38d", options).train()
    batch = make_batch(net, classes=3, size=32)
    net.loss(batch, net(batch, net.loss_want), 0)["total"].backward()
    with_gradient = {id(p) for p in net.parameters() if p.grad is not None}
    assert {id(p) for group in net.param_groups() for p in group["params"]} == with_gradient
    views = torch.cat([batch["image"], batch["image"].flip(-1)])
    maps = net.eval().seed_maps(views, batch["y"])
    assert maps.shape[-2:] == (4, 4) and torch.isfinite(maps).all()


@pytest.fixture
def project(tmp_path):
    """config/ with a recipe of our own in it; returns a function: its text -> resolved recipe on voc12."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")

    def resolve(**recipe):
        (tmp_path / "config/methods/wide.yaml").write_text(yaml.safe_dump({"extends": "cam", **recipe}))
        main = yaml.safe_load((tmp_path / "config/config.yaml").read_text())
        return Config(tmp_path / "config", main).recipe("wide", "voc12")

    return resolve


def test_recipes_at_stride_8_resolve(project):
    recipe = project(
        backbone="resnet38d", net_options={"output_stride": 8}, segmentation={"backbone": "resnet38d"}
    )
    assert recipe["backbone"] == recipe["segmentation"]["backbone"] == "resnet38d"


def test_recipes_at_other_strides_end_before_anything_runs(project):
    with pytest.raises(
        UserError, match=r"wide.yaml: backbone resnet38d.* set net_options: \{output_stride: 8\}"
    ):
        project(backbone="resnet38d")
    with pytest.raises(UserError, match=r"set segmentation.options: \{output_stride: 8\}"):
        project(segmentation={"backbone": "resnet38d", "options": {"output_stride": 16}})
    assert project(extends="irn", affinity={"backbone": "resnet38d"})  # trains no classifier


def test_missing_weights_end_the_plan(tmp_path):
    clone = copy_project(tmp_path / "project")
    recipe = {"extends": "cam", "backbone": "resnet38d", "net_options": {"output_stride": 8}}
    (clone / "config/methods/wide.yaml").write_text(yaml.safe_dump(recipe))
    target = "results/voc12/wide/classifier/model.safetensors"
    done = snakemake(clone, "-n", target)
    assert done.returncode != 0
    assert (
        "ilsvrc-cls_rna-a1_cls1000_ep-0001.params" in done.stdout
        and "weights: {resnet38d: PATH}" in done.stdout
    )
    (clone / "mine.params").touch()
    main = clone / "config/config.yaml"
    main.write_text(main.read_text().replace("resnet38d: null", "resnet38d: mine.params"))
    done = snakemake(clone, "-n", target)
    assert done.returncode == 0 and "input: mine.params" in done.stdout, done.stdout
