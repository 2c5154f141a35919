"""What every registered method must do; a new method joins by standing in METHODS."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_methods import CONVOLUTIONAL, SCRATCH, build, further_of, make_batch
from wsss import methods
from wsss.data.further import OWN_NAMES, require_plain
from wsss.errors import UserError
from wsss.io.cam_forms import FORMS, GEOMETRIES, NORMS, Form, StoredCam
from wsss.io.grids import walk_grid
from wsss.methods import METHODS, base
from wsss.methods.probe import probe_maps
from wsss.nets.backbones import build_backbone
from wsss.recipes.net_options import has_bg_map, option_names
from wsss.train.optim import require_all_learn


@pytest.fixture(params=sorted(METHODS))
def name(request):
    return request.param


def step(net, batch):
    out = net(batch, net.loss_want)
    losses = net.loss(batch, out, 0)
    losses["total"].backward()
    return losses


def views_of(images):
    return torch.cat([images, images.flip(-1)])


def aux_for(net, size):
    label = np.zeros(size, np.uint8)
    label[size[0] // 2 :] = 1
    label[:, size[1] // 2 :] = 255
    return {"ir_labels": label} if "ir_labels" in net.spec.aux else {}


def cam_of(net, size, y, scales=(1.0, 0.5), seed=5):
    """The engine's inference in short: a map a scale, and what readers make of them at image size."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    maps = []
    for scale in scales:
        target = [max(1, round(side * scale)) for side in size]
        maps.append(net.seed_maps(views_of(base.resize(image, target)), y[None])[0])
    return maps, cam_from(net, maps, y, size, scales)


def cam_from(net, maps, y, size, scales=(1.0, 0.5), grid=None):
    """What readers make of maps, (K, H, W) float32."""
    rows, extras = net.stored(maps, y, size, aux_for(net, size))
    base.require_signs(rows, net.spec)
    form = Form(net.spec.form, net.spec.geometry, net.spec.norm, scales, net.spec.bg_map)
    stored = StoredCam(tuple(base.present(y).tolist()), tuple(row.detach().numpy() for row in rows), extras)
    assert form.fault(stored) is None
    return form.read(stored, size, grid or size)


def tensors(out):
    """All tensors of an output, further views included."""
    own = [t for t in (out.logits, out.maps, out.attention, *out.features.values()) if t is not None]
    return own + [t for view in out.views.values() for t in tensors(view)]


of_convolutions = pytest.mark.parametrize("name", CONVOLUTIONAL)  # in place of the fixture


def test_spec_is_known_before_the_network(name):
    spec = methods.get(name).spec_for({})
    assert spec == build(name).spec == methods.get(name).spec_for(methods.get(name).defaults)
    assert spec.needs <= base.NEEDS
    assert spec.geometry in GEOMETRIES and spec.norm in NORMS and spec.form in FORMS


def test_options_are_known_without_the_module(name):
    assert option_names(name) == set(methods.get(name).defaults)


def test_whether_it_has_a_background_map_is_known_without_the_module(name):
    assert has_bg_map(name) is methods.get(name).spec_for({}).bg_map


def test_further_arrays_are_plain_and_a_function_of_the_seed(name):
    net = build(name)
    require_plain(net.further_arrays())
    (_, first), (_, again), (_, other) = (further_of(net, 48, seed) for seed in (1, 1, 2))
    assert not set(first) & OWN_NAMES and set(first) == set(other)
    for key, value in first.items():
        assert torch.equal(value, again[key]) and value.shape == other[key].shape


@pytest.mark.parametrize("classes", [1, 20, 80])
@pytest.mark.parametrize("size", [(65, 47), (1, 1), (33, 130), (64, 64)])
def test_cam_shape_range_and_present_classes(name, classes, size):
    net = build(name, classes).eval()
    y = torch.zeros(classes)
    y[[0, -1]] = 1
    maps, cam = cam_of(net, size, y)
    assert all(one.shape[0] in (classes, classes + 1) and one.dtype == torch.float32 for one in maps)
    on_grid = cam_from(net, maps, y, size, grid=walk_grid(size))
    for found, shape in ((cam, size), (on_grid, walk_grid(size))):
        assert found.shape == (int(y.sum()), *shape) and found.dtype == np.float32
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_it_passes_the_look_before_a_training(name):
    net = build(name)
    probe_maps(net)
    require_all_learn(net, net.param_groups(), "classifier")
    assert net.training


@pytest.mark.parametrize("present", [[], [2], [0, 1, 2, 3]])
def test_rows_are_the_present_classes(name, present):
    net = build(name).eval()
    y = torch.zeros(4)
    y[present] = 1
    maps, cam = cam_of(net, (40, 56), y)
    assert len(cam) == len(present)
    # A class's row does not depend on which other classes are asked for.
    grid = walk_grid((40, 56))  # where AMN's `rest` lies
    found, all_rows = (cam_from(net, maps, labels, (40, 56), grid=grid) for labels in (y, torch.ones(4)))
    np.testing.assert_allclose(found, all_rows[present], atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-12, 1e4])
def test_flat_maps_are_legal(name, value):
    net = build(name).eval()
    maps, _ = cam_of(net, (20, 28), torch.ones(4))
    cam = cam_from(net, [torch.full_like(one, value) for one in maps], torch.ones(4), (20, 28))
    assert np.isfinite(cam).all() and cam.min() >= 0 and cam.max() <= 1


def test_seed_maps_are_mirror_equivariant(name):
    net = build(name).eval()
    image, y = torch.randn(1, 3, 64, 64), torch.ones(1, 4)
    plain = net.seed_maps(views_of(image), y)
    mirrored = net.seed_maps(views_of(image.flip(-1)), y)
    assert torch.allclose(plain.flip(-1), mirrored, atol=1e-4 * plain.abs().max())


def test_seed_maps_do_not_depend_on_the_batch(name):
    net = build(name).eval()
    images, y = torch.randn(3, 3, 48, 40), torch.eye(4)[:3]
    together = net.seed_maps(views_of(images), y)
    alone = [net.seed_maps(views_of(images[[i]]), y[[i]]) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4 * together.abs().max())


def test_eval_is_deterministic_and_train_returns(name):
    net = build(name)
    batch = make_batch(net)
    net.eval()
    first, second = (net(batch, net.loss_want) for _ in range(2))
    for one, other in zip(tensors(first), tensors(second), strict=True):
        assert torch.equal(one, other)
    assert tensors(first)
    assert net.train().training and not any(m.training for m in net.eval().modules())


LEGAL = {
    "ordinary": {},
    "all classes": {"y": torch.ones(2, 4)},
    "no class": {"y": torch.zeros(2, 4)},
    "no foreground pixel": {"label": torch.zeros(2, 64, 64, dtype=torch.uint8)},
    "no background pixel": {"label": torch.full((2, 64, 64), 3, dtype=torch.uint8)},
    "all ignored": {"label": torch.full((2, 64, 64), 255, dtype=torch.uint8)},
}


@pytest.mark.parametrize("case", LEGAL)
@pytest.mark.parametrize("options", [{}, SCRATCH], ids=["published", "scratch"])
def test_loss_and_gradients_are_finite(name, case, options):
    net = build(name, options=options).train()
    losses = step(net, make_batch(net, **LEGAL[case]))
    assert all(torch.isfinite(v) and v.ndim == 0 for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("options", [{}, SCRATCH], ids=["published", "scratch"])
def test_param_groups_are_what_gets_gradients(name, options):
    net = build(name, options=options).train()
    step(net, make_batch(net))
    groups = net.param_groups()
    in_groups = [p for g in groups for p in g["params"]]
    assert len(in_groups) == len({id(p) for p in in_groups})
    with_gradient = {id(p) for p in net.parameters() if p.grad is not None}
    assert {id(p) for p in in_groups} == with_gradient
    assert all(set(g) == {"params", "lr_scale", "weight_decay"} for g in groups)


def test_half_precision_step_is_finite(name):
    net = build(name, options=SCRATCH).to(memory_format=torch.channels_last)
    batch = make_batch(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = net.loss(batch, net(batch, net.loss_want), 0)
        seeds = net.eval().seed_maps(views_of(batch["image"]), batch["y"])
    losses["total"].backward()
    assert losses["total"].dtype == seeds.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for g in net.param_groups() for p in g["params"])


@of_convolutions
@pytest.mark.parametrize("freeze", ["stem", "stage1", "stage2", "stage3"])
def test_what_is_frozen_never_moves(name, freeze):
    net = build(name, options={"bn": "train", "freeze": freeze}).train()
    before = {k: v.clone() for k, v in net.backbone.state_dict().items()}
    step(net, make_batch(net))
    moved = {k.split(".")[0] for k, v in net.backbone.state_dict().items() if not torch.equal(v, before[k])}
    order = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    assert moved == set(order[{"stem": 2, "stage1": 3, "stage2": 4, "stage3": 5}[freeze] :])


PUBLISHED = {"cam": ("stage2", "statistics"), "amn": ("stem", "statistics"), "sipe": ("stage2", "statistics")}
PUBLISHED |= dict.fromkeys(("eps", "eps_base", "seam", "cpn", "ppc", "ppc_eps"), ("stage1", "frozen"))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("backbone", ["resnet18", "resnet38d"])
def test_defaults_freeze_what_the_released_code_freezes(name, backbone):
    freeze, bn = PUBLISHED[name]
    with torch.device("meta"):
        net = methods.get(name)(4, backbone, {"output_stride": 8})
        expected = build_backbone(backbone, freeze=freeze, bn=bn)
    learns = {n for n, p in net.backbone.named_parameters() if p.requires_grad}
    assert learns == {n for n, p in expected.named_parameters() if p.requires_grad}


def test_logits_are_one_a_class(name):
    net = build(name)
    batch = make_batch(net, n=3)
    logits = net(batch, frozenset({"logits"})).logits
    assert logits is None if not net.spec.image_logits else logits.shape == batch["y"].shape == (3, 4)


def test_forward_computes_only_what_is_asked(name):
    net = build(name)
    out = net(make_batch(net), frozenset({"maps"}))
    assert out.logits is None and out.features == {} and out.maps.shape[:2] in ((2, 4), (2, 5))
    assert net(make_batch(net), frozenset({"features"})).maps is None


def test_pixel_logits_have_background_first(name):
    net = build(name)
    out = net(make_batch(net), frozenset({"maps"}))
    if name == "mctformer_v1":  # its maps are attention
        with pytest.raises(UserError, match="no logits of single cells, .* take net: mctformer_v2"):
            net.pixel_logits(out)
        return
    logits = net.pixel_logits(out)
    assert logits.shape == (2, 5, *out.maps.shape[-2:])
    assert torch.equal(logits[:, 1:], out.maps[:, -4:])


def test_save_and_load(name, tmp_path):
    net = build(name, options={"bn": "train"}).train()
    step(net, make_batch(net))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = build(name, options={"bn": "train"}, seed=9)
    again.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    y = torch.tensor([1.0, 0, 1, 0])
    assert np.array_equal(cam_of(net.eval(), (40, 33), y)[1], cam_of(again.eval(), (40, 33), y)[1])


def test_backbone_weights_load_strictly(name):
    source, net = build(name, 1), build(name, 7)
    state = {k: v + 1 for k, v in source.backbone.state_dict().items()}
    net.load_backbone(state)
    first = "conv1.weight" if name in CONVOLUTIONAL else "patch_embed.proj.weight"
    assert torch.equal(net.backbone.state_dict()[first], state[first])
    state.pop(first)
    with pytest.raises(UserError, match="missing"):
        net.load_backbone(state)


@pytest.mark.parametrize(
    "wish, words",
    [
        ({"bg_map": True, "form": "softmax"}, "Newcomer has bg_map and form softmax; a background map goes with form sum"),
        ({"stride": 8}, "Newcomer: geometry pad16, the default, is that of maps of stride 16, and these have 8; .*stretch"),
        ({"needs": frozenset({"valid", "saliency"})}, "Newcomer needs valid, .* takes ir_labels, saliency; let further_arrays"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(wish, words):
    class Newcomer(base.Method):
        @classmethod
        def spec_for(cls, options=None):
            return base.Spec(**{"stride": 16, **wish})

    with pytest.raises(UserError, match=words):
        Newcomer(4, "resnet_small")


def test_unknown_method_lists_the_known():
    for ask in (methods.get, methods.module_path):
        with pytest.raises(UserError, match="amn, cam"):
            ask("nosuch")


def test_module_path_imports_nothing():
    code = "import sys, wsss.methods as m; print(m.module_path('amn'), 'torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["wsss.methods.amn", "False"]


def test_a_forward_that_leaves_out_the_maps_is_told_so():
    net = build("cam")
    with pytest.raises(UserError, match="forward gave no maps.*CamOut.maps"):
        base.Method.pixel_logits(net, base.CamOut())
