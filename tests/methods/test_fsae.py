"""FSAE around every registered method, its functions by facts, and each of the switches."""


import numpy as np
import pytest
import torch
from small_fsae import BASES, NO_LOGITS, around, gradients, losses_of
from small_methods import SCRATCH, build
from wsss.data.further import View, require_plain
from wsss.data.transforms import Geometry
from wsss.errors import UserError
from wsss.methods.base import CamOut
from wsss.wrappers.expansion import confident_cells, consistency, expand, mask_absent, ring_around
from wsss.wrappers.fsae import FSAE
from wsss.wrappers.fsae_options import DEFAULTS
from wsss.wrappers.perturb import Mix, hide_patches

# --- facts ---------------------------------------------------------------------------------------------


def sure_from(classes, how):
    """The logit from which one present class is confident beside a background of 0."""
    y = torch.zeros(1, classes)
    y[0, 0] = 1
    z = torch.linspace(2.9, 7.4, 4501, dtype=torch.float64).view(-1, 1, 1, 1)
    maps = torch.cat([torch.zeros_like(z), z, torch.full((len(z), classes - 1, 1, 1), 3.0)], 1)
    probs = mask_absent(maps, y.expand(len(z), -1), how).softmax(1)
    return float(z[confident_cells(probs, torch.full((classes + 1,), 0.95)).confident.flatten()][0])


@pytest.mark.parametrize("classes, how, logit", [(20, "zero", 5.9402), (80, "zero", 7.3265), (20, "neginf", 2.9444), (80, "neginf", 2.9444)])
def test_how_sure_one_present_class_must_be(classes, how, logit):
    assert sure_from(classes, how) == pytest.approx(logit, abs=1.1e-3)


def test_learned_cells_hold_the_confident_ones_and_padding_has_none():
    rng = torch.Generator().manual_seed(1)
    probs = torch.randn(3, 5, 9, 7, generator=rng).mul(4).softmax(1)
    tau = torch.full((5,), 0.9)
    pseudo = expand(confident_cells(probs, tau), probs, tau - 0.3, DEFAULTS)
    assert (pseudo.mask >= pseudo.confident).all() and pseudo.ring.any()
    assert not (pseudo.ring & pseudo.foreground).any()


def test_equal_views_that_are_sure_everywhere_give_the_mean_cross_entropy():
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    label, everywhere = logits.argmax(1), torch.ones(2, 5, 6, dtype=torch.bool)
    expected = -logits.log_softmax(1).amax(1).mean()
    for norm in ("all", "mask"):
        assert consistency(logits, label, everywhere, norm) == pytest.approx(float(expected))


def test_divided_by_the_cells_that_are_learned():
    logits, label = torch.zeros(1, 21, 4, 4, requires_grad=True), torch.zeros(1, 4, 4, dtype=torch.int64)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, :2] = True
    assert float(consistency(logits, label, mask, "mask").detach()) == pytest.approx(np.log(21))
    assert float(consistency(logits, label, mask, "all").detach()) == pytest.approx(np.log(21) * 2 / 16)
    nothing = consistency(logits, label, mask & False, "mask")
    nothing.backward()
    assert nothing == 0 and logits.grad.abs().max() == 0


# --- around every method -------------------------------------------------------------------------------


@pytest.fixture(params=BASES)
def name(request):
    return request.param


def test_weight_zero_gives_the_bases_gradients(name):
    fsae, batch = around(name, {"lambda": 0})
    base = build(name, options=SCRATCH).train()
    ours = gradients(fsae.base, losses_of(fsae, batch))
    theirs = gradients(base, losses_of(base, batch))
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert torch.equal(ours[key], gradient), key
    for key, value in base.state_dict().items():
        if not key.endswith("num_batches_tracked"):  # which nothing reads
            assert torch.equal(value, fsae.base.state_dict()[key]), f"{key}: running statistics of other views"


def test_it_learns_from_the_strong_view_and_the_teacher_does_not(name):
    fsae, batch = around(name, tau_c=0.21, tau_r=0.2)  # the likeliest of five classes is as likely as that
    losses = losses_of(fsae, batch)
    assert all(torch.isfinite(v) and v.ndim == 0 for v in losses.values())
    assert losses["consistency"].item() > 0 and losses["confident"].item() > 0
    assert losses["total"].item() == pytest.approx((losses["base"] + losses["consistency"]).item(), rel=1e-6)
    with_it, without = gradients(fsae, losses), gradients(fsae, losses_of(fsae, batch) | {"total": losses_of(fsae, batch)["base"]})
    assert any(not torch.equal(with_it[key], without[key]) for key in without)
    assert not [key for key in with_it if key.startswith("teacher")]
    learning = {id(p) for group in fsae.param_groups() for p in group["params"]}
    assert learning == {id(p) for group in fsae.base.param_groups() for p in group["params"]}
    assert not learning & {id(p) for p in fsae.teacher.parameters()}


@pytest.mark.parametrize(
    "case",
    [
        {"y": torch.zeros(2, 4)},
        {"strong_valid": torch.zeros(2, 1, 64, 64)},
    ],
    ids=["no class", "all padding"],
)
def test_finite_for_every_legal_batch(name, case):
    fsae, batch = around(name)
    losses = losses_of(fsae, {**batch, **case})
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(g).all() for g in gradients(fsae, losses).values())
    if "strong_valid" in case:
        assert losses["confident"] == losses["ring"] == losses["consistency"] == 0


def test_samples_are_the_bases_with_a_strong_view(name):
    fsae = FSAE(build(name))
    require_plain(fsae.further_arrays())
    photo = np.random.default_rng(1).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    geometry = Geometry((60, 50), True, 48, (6, -1))
    view = View(photo, geometry, geometry.image(photo))
    found = fsae.further_arrays()(view, np.random.default_rng(2))
    base = fsae.base.further_arrays()
    alone = base(view, np.random.default_rng(2)) if base else {}
    assert set(found) == {*alone, "strong", "strong_valid"}
    assert all(np.array_equal(found[key], value) for key, value in alone.items())
    again = fsae.further_arrays()(view, np.random.default_rng(2))
    assert np.array_equal(found["strong"], again["strong"]) and found["strong"].dtype == np.float32
    assert (found["strong"][:, found["strong_valid"][0] == 0] == 0).all()


def test_half_precision_step(name):
    fsae, batch = around(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(fsae, batch)
    losses["total"].backward()
    assert losses["total"].dtype == torch.float32 and torch.isfinite(losses["total"])
    assert all(torch.isfinite(p.grad).all() for g in fsae.param_groups() for p in g["params"])


def test_background_of_each_base(name):
    """A trained background map stays as it is and absent classes are at 0; beside a constant one they are out."""
    fsae, _ = around(name)
    native = name in {"amn", "eps", "ppc_eps"}
    assert (fsae.adapter.__name__, fsae.masking) == (("native_logits", "zero") if native else ("constant_logits", "neginf"))


@pytest.mark.parametrize("name", NO_LOGITS)
def test_nets_without_logits_are_refused_before_training(name):
    with pytest.raises(UserError, match=f"net: {name} has attention maps, no logits of single cells, .* take net: mctformer_v2"):
        FSAE(build(name))


# --- switches ------------------------------------------------------------------------------------------


def blob(value=0.99, label=2, size=7):
    """(probs of one image with one sure cell in the middle, thresholds)."""
    probs = torch.full((1, 4, size, size), 0.05)
    probs[:, 0] = 0.85
    probs[0, :, size // 2, size // 2] = (1 - value) / 3
    probs[0, label, size // 2, size // 2] = value
    return probs, torch.full((4,), 0.95), torch.full((4,), 0.8)


def test_ring_labels():
    probs, high, low = blob()
    own, neighbour = (expand(confident_cells(probs, high), probs, low, {**DEFAULTS, "ring": ring}) for ring in ("own_argmax", "neighbour_class"))
    assert own.ring.sum() == 8 and torch.equal(own.ring, neighbour.ring)
    assert (own.label[own.ring] == 0).all() and (neighbour.label[own.ring] == 2).all()
    assert torch.equal(own.label[~own.ring], neighbour.label[~own.ring])


def test_ring_source():
    probs, high, low = blob(label=0)  # the sure cell is background
    rings = {source: expand(confident_cells(probs, high), probs, low, {**DEFAULTS, "ring_source": source}).ring.sum() for source in ("fg", "all")}
    assert rings == {"fg": 0, "all": 8}


@pytest.mark.parametrize("kernel, iters, cells", [(3, 1, 8), (5, 1, 24), (3, 2, 24), (7, 1, 48)])
def test_width_of_the_ring(kernel, iters, cells):
    probs, high, low = blob(size=9)
    options = {**DEFAULTS, "kernel": kernel, "iters": iters}
    assert expand(confident_cells(probs, high), probs, low, options).ring.sum() == cells


def test_no_ring():
    fsae, batch = around("cam", ring="none")
    losses = losses_of(fsae, batch)
    assert losses["ring"] == 0 and losses["expanded"] == losses["confident"]
    assert losses_of(*around("eps"))["ring"].item() > 0


def test_warmup_and_lambda():
    fsae, _ = around("cam", {"lambda": 2.0, "warmup": 4})
    assert [fsae.weight(step) for step in (0, 1, 3, 9)] == [0.5, 1.0, 2.0, 2.0]
    assert around("cam", {"lambda": 0.5})[0].weight(0) == 0.5


def test_norm_of_the_loss():
    every, mine = (losses_of(*around("eps", norm=norm)) for norm in ("all", "mask"))
    assert (mine["consistency"] * mine["expanded"]).item() == pytest.approx(every["consistency"].item(), rel=1e-5)


def test_backgrounds():
    """native, of SEAM too, whose loss does not train it; const0; prob from scaled maps."""
    maps = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(3))
    seam = {bg: FSAE(build("seam"), {"bg": bg}) for bg in ("native", "const0", "prob")}
    found = {bg: fsae.adapter(fsae.base, CamOut(maps=maps)) for bg, fsae in seam.items()}
    assert torch.equal(found["native"], maps)
    assert (found["const0"][:, 0] == 0).all() and torch.equal(found["const0"][:, 1:], maps[:, 1:])
    scores = found["prob"] * 0.1
    torch.testing.assert_close(scores[:, 1:].amax((-2, -1)), torch.ones(2, 4))
    torch.testing.assert_close(scores[:, 0], 1 - scores[:, 1:].amax(1))
    assert [seam[bg].masking for bg in seam] == ["zero", "neginf", "neginf"]
    assert FSAE(build("seam"), {"bg": "native", "mask": "neginf"}).masking == "neginf"


def test_no_background_map_to_take():
    with pytest.raises(UserError, match="bg native: net CAM has no background map; set bg: const0 or prob"):
        FSAE(build("cam"), {"bg": "native"})
    with pytest.raises(UserError, match="net SEAM.*mask zero with a constant background.*set mask: neginf"):
        FSAE(build("seam"), {"mask": "zero"})


def test_enlarged_logits_have_a_thinner_ring():
    fsae, batch = around("cam", upsample=2)
    pseudo = fsae.pseudo_labels(batch)
    assert pseudo.label.shape == (2, 8, 8) and fsae.strong_logits(batch).shape == (2, 5, 8, 8)


def test_classwise_thresholds():
    fsae, batch = around("cam", classwise_tau=True)
    plain = around("cam")[0]
    fsae.confidence.copy_(torch.tensor([0.9, 0.3, 0.9, 0.9, 0.9]))
    low = fsae.eval().pseudo_labels(batch).confident
    assert not low.logical_and(~plain.eval().pseudo_labels(batch).confident).any() or low.any()
    tau = 0.95 * fsae._class_scale(torch.zeros(1, 5, 1, 1))
    torch.testing.assert_close(tau, torch.tensor([0.95, 0.95 / 3, 0.95, 0.95, 0.95]))
    fsae.train().pseudo_labels(batch)
    assert (fsae.confidence != torch.tensor([0.9, 0.3, 0.9, 0.9, 0.9])).any() and "confidence" in fsae.state_dict()


def strong_logits(seed=0, **wrap):
    fsae, batch = around("cam", net={"bn": "frozen"}, **wrap)
    torch.manual_seed(seed)
    return fsae.strong_logits(batch)


@pytest.mark.parametrize("switch", [{"feature_dropout": 0.5}, {"patch_mask": 0.5}])
def test_perturbations_of_the_strong_branch(switch):
    plain, first, again, other = strong_logits(), strong_logits(**switch), strong_logits(**switch), strong_logits(1, **switch)
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, plain)


def test_hidden_patches():
    torch.manual_seed(0)
    hidden = hide_patches(torch.ones(4, 3, 50, 70), 0.5, 16) == 0
    assert 0.3 < hidden.float().mean() < 0.7
    assert torch.equal(hidden[:, :, :16, :16].float().mean((1, 2, 3)) % 1, torch.zeros(4)), "patches are whole"


def test_cutmix():
    torch.manual_seed(0)
    mix = Mix.draw((2, 4, 4), torch.device("cpu"))
    assert mix.box.any() and not mix.box.all()
    image = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    mixed = mix.image(image)
    assert torch.equal(mixed[0, 0, ::8, ::8] > 0, mix.box[0]) and torch.equal(mixed[1, 0, ::8, ::8] < 1, mix.box[1])
    assert torch.equal(mix.classes(torch.eye(2)), torch.ones(2, 2))
    fsae, batch = around("cam", cutmix=True)
    pseudo = fsae.pseudo_labels(batch)
    learned = mix.pseudo(pseudo)
    assert torch.equal(learned.label[0][mix.box[0]], pseudo.label[1][mix.box[0]])
    assert torch.equal(learned.label[0][~mix.box[0]], pseudo.label[0][~mix.box[0]])
    losses = losses_of(fsae, batch)
    assert torch.isfinite(losses["total"]) and losses["consistency"] != losses_of(*around("cam"))["consistency"]


@pytest.mark.parametrize("size", [(16, 16), (33, 47)], ids=["one patch", "odd"])
def test_small_and_odd_sizes(size):
    fsae, batch = around("cam")
    cut = {key: v[..., : size[0], : size[1]] if torch.is_tensor(v) and v.dim() == 4 else v for key, v in batch.items()}
    losses = losses_of(fsae, cut)
    assert torch.isfinite(losses["total"])
    if size == (16, 16):
        assert losses["ring"] == 0, "one cell has no neighbour"


def test_right_cells_are_counted_by_ground_truth():
    fsae, batch = around("cam")
    pseudo = fsae.eval().pseudo_labels(batch)
    label = pseudo.label.repeat_interleave(16, 1).repeat_interleave(16, 2).to(torch.uint8)
    all_right = fsae.right_cells({**batch, "label": label})["expanded"]
    assert all_right[0] == all_right[1] == pseudo.mask.sum() > 0
    wrong = fsae.right_cells({**batch, "label": (label + 1) % 5})["expanded"]
    unknown = fsae.right_cells({**batch, "label": torch.full_like(label, 255)})["expanded"]
    assert wrong[0] == 0 and wrong[1] == all_right[1] and unknown[1] == 0


def test_rings_do_not_touch_other_images():
    mask = torch.zeros(2, 5, 5, dtype=torch.bool)
    mask[0, 2, 2] = True
    assert ring_around(mask, 3, 1)[1].sum() == 0
