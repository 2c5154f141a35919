"""PPC, on SEAM and on EPS, against its released code: networks, contrast, losses, gradients, steps and maps."""

import pytest
import torch
from cam_reference import view_pair
from golden import golden
from golden_case import (
    Case,
    Numbers,
    check_gradients,
    check_steps,
    check_stored_cam,
    full_size_cam,
    images,
    multi_hot,
    photo,
    training,
)
from sections import settings_of
from wsss.io.cam_forms import cut_min_max
from wsss.methods import prototype_contrast
from wsss.methods.base import multilabel_soft_margin, resize, with_background
from wsss.methods.eps import overlap, saliency_loss
from wsss.methods.pixel_correlation import (
    background_minimum,
    image_logits,
    listed_classes,
    listed_maps,
)
from wsss.methods.prototype_contrast import contrast, pixels_of, prototypes_of, scores_of
from wsss.methods.seam import cross_regularisation, equivariance, strongest_class
from wsss.nets.pcm import PixelCorrelation, guidance, resize_corners
from wsss.train.optim import learning_rate

NETWORKS = ("ppc_seam", "ppc_eps")
LAYOUTS = {"ppc_seam": "ppc", "ppc_eps": "ppc_eps"}
STEPS = {"ppc_seam": 10576, "ppc_eps": 19830}
SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "momentum": 5e-4}
SCALES = (0.5, 1.0, 1.5, 2.0)
PRESENT = (2, 7)
LABELS = ([14], [2, 7, 14])
# As the files advise. Later losses: a background of one cell adds nothing, one of two cells does, and after a step at these
# rates that is a matter of rounding.
WIDER = {"change 3": 1e-2, "norms": 1e-5, "later losses": 2e-2}
CONTRAST = ("cross_prototype", "cross_label", "intra_view")  # in their files cross_nce, cross_nce2, intra_nce
TO_LAST = [*range(1, 21), 0]


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    return Case(request.param, LAYOUTS[request.param], **WIDER)


@pytest.fixture(scope="module")
def batch():
    image = images(160, 144, 1, 2)
    return {"image": image, "y": multi_hot(*LABELS), "saliency": image[:, :1].clamp(0, 1)}


@pytest.fixture(autouse=True)
def first_half(monkeypatch):
    """The files take the first half of a class's pixels where the code draws one."""
    monkeypatch.setattr(prototype_contrast, "chance_of", lambda labels: torch.arange(len(labels)).float())


def is_eps(case):
    return case.name == "ppc_eps"


def theirs_order(case, maps):
    """Maps, or rows, as they are ordered in the file: the background of EPS is the last."""
    return maps[:, TO_LAST] if is_eps(case) else maps


def ours_order(case, maps):
    return maps.roll(1, 1) if is_eps(case) else maps


def rows_of(case, name):
    """An array whose rows are classes, background first."""
    rows = torch.from_numpy(case.arrays[name])
    return rows.roll(1, 0) if is_eps(case) else rows


def labels_of(case, name):
    """Pseudo-labels, 0 the background."""
    labels = torch.from_numpy(case.arrays[name]).long()
    return (labels + 1) % 21 if is_eps(case) else labels


def formula(name, *shape, factor=1.0):
    return factor * torch.from_numpy(golden.tensor(name, shape))


def top_name(case, view, pure=""):
    return f"top_indices{view if view == 2 or pure and not is_eps(case) else ''}"


@pytest.fixture(scope="module")
def looks(case, batch):
    """Outputs of both views with the size their maps are compared at."""
    with torch.no_grad():
        out = case.network.train()(batch, case.network.loss_want)
    return case.network.looks(batch, out)


# --- the network -------------------------------------------------------------------------------------------------------


def test_forward(case, looks):
    for n, (look, size) in enumerate(looks, 1):
        cam, cam_rv = (theirs_order(case, maps) for maps in (look.maps, look.features["cam_rv"]))
        case.maps("forward", {f"view{n}/cam": resize_corners(cam, size), f"view{n}/cam_rv": resize_corners(cam_rv, size)})
        case.maps("forward", {f"view{n}/{'feats' if is_eps(case) else 'f_proj'}": look.features["projection"]})
        gap = f"view{n}/pred" if is_eps(case) else f"label{n}_gap_logits"
        case.agree("forward", image_logits(look.maps, size), theirs_rows(case, gap))
    if not is_eps(case):
        case.maps("forward", {"view1/pcm_input_cam": guidance(looks[0][0].maps), "view1/cam_rv_down": looks[0][0].features["cam_rv"]})


def theirs_rows(case, name):
    """Logits (B, 20): theirs have one of the background too, which no loss looks at."""
    return case.arrays[name][:, :20] if is_eps(case) else case.arrays[name][:, 1:]


@torch.no_grad()
def test_forward_of_another_shape(case):
    look = case.network.eval().look(images(112, 144, 5), case.network.loss_want)
    maps = {"cam": theirs_order(case, look.maps), "cam_rv": theirs_order(case, look.features["cam_rv"])}
    if not is_eps(case):
        maps = {name: resize_corners(one, (112, 144)) for name, one in maps.items()} | {"cam_rv_down": maps["cam_rv"]}
    maps |= {"feats" if is_eps(case) else "f_proj": look.features["projection"]}
    case.maps("forward", {f"eval112x144/{name}": one for name, one in maps.items()})


def test_sizes_and_groups(case):
    count = sum(p.numel() for p in case.network.parameters())
    learns = [p for group in case.network.param_groups() for p in group["params"]]
    assert count == case.facts["parameter_count"]["all"] == 105_882_496
    trained = sum(p.numel() for p in learns)
    assert trained == case.facts["parameter_count"]["requires_grad_in_training"] == 105_013_824
    scales = {id(p): group["lr_scale"] * 0.01 for group in case.network.param_groups() for p in group["params"]}
    rates = {n: e["lr"] for n, e in case.facts["parameters"].items() if e["grad_l2"] is not None}
    assert {n: scales[id(p)] for n, p in case.parameters().items() if id(p) in scales} == pytest.approx(rates)


# --- the contrast ------------------------------------------------------------------------------------------------------


def views_of(case, looks):
    grid = looks[1][0].maps.shape[-2:]
    return [[resize_corners(look.features[name].float(), grid) for name in ("projection", "cam_rv")] for look, _ in looks]


@torch.no_grad()
def test_contrast_of_the_batch(case, batch, looks):
    views = [pixels_of(*view, batch["y"], case.network.options) for view in views_of(case, looks)]
    for n, (view, (features, maps)) in enumerate(zip(views, views_of(case, looks), strict=True), 1):
        scores = scores_of(maps, case.network.options["contrast_background"])
        if not is_eps(case):
            case.maps("contrast", {f"nce/norm_cam{n}": scores}, "inference")
        case.agree("pseudo-labels", view.labels, labels_of(case, f"nce/pseudo_label{n}"), "labels", "share")
        top = rows_of(case, f"nce/{top_name(case, n)}").long()
        found = prototypes_of(features.movedim(1, -1).flatten(0, -2), scores.movedim(1, 0).flatten(1), top)
        case.agree("prototypes", found, rows_of(case, f"nce/prototypes{n}"))


@pytest.mark.parametrize("width", [8, 128])
def test_contrast_of_formula_maps(case, width):
    """Also gradients; prototypes of the indices that the file has, where equal scores have no order."""
    options, y, views, leaves = case.network.options, multi_hot(*LABELS), [], []
    for n, size in enumerate(((20, 18), (16, 16)), 1):
        name = f"pure/nce_d{width}/"
        leaf = formula(f"ppc.f{n}.d{width}", 2, width, *size, factor=10).relu().requires_grad_()
        maps = ours_order(case, formula(f"ppc.c{n}", 2, 21, *size, factor=10).abs())
        features, maps = resize_corners(leaf, (16, 16)), resize_corners(maps, (16, 16))
        view = pixels_of(features, maps, y, options)
        scores = scores_of(maps, options["contrast_background"]).movedim(1, 0).flatten(1)
        top = rows_of(case, name + top_name(case, n, "pure")).long()
        prototypes = prototypes_of(features.detach().movedim(1, -1).flatten(0, -2), scores, top)
        case.agree("contrast of formula maps", view.labels, labels_of(case, f"{name}pseudo_label{n}"), "labels", "share")
        case.agree("contrast of formula maps", prototypes, rows_of(case, f"{name}prototypes{n}"), 1e-5)
        same = torch.tensor([set(a) == set(b) for a, b in zip(top.tolist(), scores.topk(top.shape[1]).indices.tolist(), strict=True)])
        assert same[1:].all()  # all but the background's, which are any
        case.agree("contrast of formula maps", view.prototypes[1:], rows_of(case, f"{name}prototypes{n}")[1:], 1e-5)
        views.append(prototype_contrast.Pixels(view.directions, view.labels, prototypes, view.known))
        leaves.append(leaf)
    terms = contrast(*views, options)
    sum(terms.values()).backward()
    theirs = case.facts["pure"][f"nce_d{width}"]["losses"]
    terms = {name: term.item() for name, term in terms.items()}
    case.agree("contrast of formula maps", terms, contrast_terms(theirs), "losses", "each")
    for n, leaf in enumerate(leaves, 1):
        # Of 8 channels some pixels have none above 0: as near to all prototypes, they stand against any ten of them.
        if (leaf.amax(1) > 0).all():
            case.maps("contrast of formula maps: gradients", {f"pure/nce_d{width}/grad_f{n}": leaf.grad})


def contrast_terms(theirs, prefix=""):
    names = ("loss_cross_nce", "loss_cross_nce2", "loss_intra_nce")
    return dict(zip(CONTRAST, (theirs[prefix + name] for name in names), strict=True))


# --- the other losses --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_loss_terms_of_a_view(case, batch, looks):
    y, ours = batch["y"], {}
    classes = listed_classes(y)
    for n, (look, size) in enumerate(looks, 1):
        ours[f"loss_cls_view{n}" if is_eps(case) else f"loss_cls{n}"] = multilabel_soft_margin(image_logits(look.maps, size), y)
        refined = listed_maps(look.features["cam_rv"], classes, size)
        ours[f"loss_rvmin{n}"] = background_minimum(refined, y.gather(1, classes))
    if is_eps(case):
        for n, saliency in enumerate((batch["saliency"], resize_corners(batch["saliency"], (128, 128))), 1):
            look = looks[n - 1][0]
            ours[f"loss_sal_cam{n}"] = saliency_loss(look.maps, saliency, y, 0.4, 0.5)
            ours[f"loss_sal_rv{n}"] = saliency_loss(look.features["cam_rv"], saliency, y, 0.4, 0.5)
    case.agree("losses", ours, {name: case.scalars["losses"][name] for name in ours}, "losses", "each")


def test_training(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    done = training(case, loss, {**SETTINGS, "steps": STEPS[case.name]})
    ours, theirs = done.losses[0], case.scalars["losses"]
    case.agree("losses", {name: ours[name] for name in CONTRAST}, contrast_terms(theirs, "nce/" if is_eps(case) else ""), "losses", "each")
    # Their classification loss holds rvmin.
    rest = {"loss_cls": ours["cls"] + ours["rvmin"], "loss_er": ours["er"], "loss_ecr": ours["ecr"], "loss": ours["total"]}
    rest |= {"loss_sal": ours["saliency"]} if is_eps(case) else {}
    case.agree("losses", rest, {name: theirs[name] for name in rest}, "losses", "each")
    check_gradients(case, done)
    check_steps(case, done, "released")


def test_schedule(case):
    theirs = case.facts["pure"]["poly_lr"]
    steps = STEPS[case.name]
    assert theirs["max_step"] == steps
    known = {int(step): rate for step, rate in theirs["lr_at_step"].items() if int(step) < steps}
    ours = {step: learning_rate(step, 20_000, settings_of({**SETTINGS, "poly_steps": steps})) for step in known}
    if after := theirs.get("lr_after_max_step"):
        known["after"], ours["after"] = after, learning_rate(19_999, 20_000, settings_of({**SETTINGS, "poly_steps": steps}))
    case.agree("learning rates", ours, known, 1e-6, "each")


# --- small functions ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_functions_of_seam():
    case = Numbers("ppc_seam")
    case.agree("functions", cut_min_max(formula("ppc.max_norm", 2, 3, 4, 5, factor=3)), "pure/max_norm", 1e-5)
    maps = formula("ppc.onehot", 1, 5, 3, 4, factor=2).abs()
    case.agree("functions", strongest_class(maps), "pure/max_onehot", 1e-5)
    pcm = PixelCorrelation(512, 1024)
    pcm.f9.weight.copy_(formula("f9.weight", 192, 195, 1, 1))
    guide, features = 5 * formula("ppc.pcm_cam", 2, 21, 4, 5).abs(), formula("ppc.pcm_f", 2, 195, 4, 5, factor=10).relu()
    case.agree("functions", pcm(guide, features), "pure/pcm", 1e-5)
    case.agree("functions", pcm(torch.full_like(guide, 0.7), features), "pure/pcm_constant", 1e-5)
    largest = formula("ppc.min_pool", 2, 3, 4, 6, factor=2)
    with_first = torch.cat([largest[:, :1], largest], dim=1)  # ours leaves out a background that comes before the classes
    case.agree("functions", background_minimum(with_first, torch.ones(2, 3))[None], case.arrays["pure/adaptive_min_pooling_loss"][None], 1e-5)


def test_regularisers_on_eps():
    case = Numbers("ppc_eps")
    sizes = {"cam1": (8, 9), "cam2": (4, 4), "rv1": (8, 9), "rv2": (4, 4)}
    leaves = {name: formula(f"er.{name}", 2, 21, *size, factor=60).requires_grad_() for name, size in sizes.items()}
    y = multi_hot(*LABELS)
    classes = torch.arange(20).expand(2, -1)
    c1, c2, r1, r2 = (resize_corners(cut_min_max(leaf.roll(1, 1)), (4, 4)) * with_background(y) for leaf in leaves.values())
    untouched = torch.cat([torch.zeros(2, 1), classes == 0], dim=1).bool()
    er, ecr = equivariance(c1, c2, 20), cross_regularisation(c1, c2, r1, r2, 0.2, 20, untouched)
    theirs = {name: case.facts["pure"]["er"][name] for name in ("loss_er", "loss_ecr")}
    case.agree("regularisers", {"loss_er": er.item(), "loss_ecr": ecr.item()}, theirs, "losses", "each")
    (er + ecr).backward()
    for name, leaf in leaves.items():
        case.agree("regularisers", leaf.grad, f"pure/er_grad_{name}")
    mended = cross_regularisation(c1, c2, r1, r2, 0.2, 20)
    case.differ("first class", [mended.item()], [theirs["loss_ecr"]], at_least=1e-3, at_most=0.5, measure="each")


def test_saliency_loss_of_formula_maps():
    case = Numbers("ppc_eps")
    maps, y = formula("eps.cam", 2, 21, 6, 7, factor=40), multi_hot(*LABELS)
    maps[0, 14, :4] += 6
    maps[1, 2, :3, :4] += 6
    maps[1, 7, 3:, 2:] += 6
    maps[:, 20, 5] += 4
    maps[1, 14, :, 6] += 9
    saliency = (6 * formula("eps.sal", 2, 1, 12, 14) * 0.5 + 0.5).clamp(0, 1)
    saliency[0, :, :7] = 0.5 * saliency[0, :, :7] + 0.5
    saliency[1, :, :7, :8] = 0.5 * saliency[1, :, :7, :8] + 0.5
    saliency[1, :, 6:8, 4:] *= 0.4
    ours = {}
    for tau in (0.4, 0.5):
        leaf = maps.clone().requires_grad_()
        loss = saliency_loss(leaf.roll(1, 1), saliency, y, tau, 0.5)
        loss.backward()
        ours[f"tau_{tau}"] = loss.item()
        case.agree("saliency loss", leaf.grad, f"pure/eps_tau{tau}/grad_cam", 1e-5)
    case.agree("saliency loss", ours, case.facts["pure"]["eps_loss"], 1e-5, "each")
    shares = overlap(maps.roll(1, 1).softmax(1)[:, 1:], saliency[..., ::2, ::2])
    theirs = case.facts["pure"]["eps_overlap"]
    case.agree("saliency loss", {name: shares[tuple(map(int, name.split("/")))].item() for name in theirs}, theirs, 1e-5, "each")


# --- inference ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cam(case):
    return full_size_cam(case, photo(84, 108, 11), multi_hot(PRESENT)[0], SCALES)


def test_views_at_inference(case):
    if not is_eps(case):
        case.agree("image at half its size", view_pair(photo(84, 108, 11), 0.5)[0, :, ::2, ::2], "infer/pil_resized_0.5", 1e-5)
    total = 0
    for scale in SCALES:
        views = view_pair(photo(84, 108, 11), scale)
        maps = case.network.eval().seed_maps(views, multi_hot(PRESENT))
        maps = resize(maps if is_eps(case) else resize_corners(maps, views.shape[-2:]), (84, 108))[0, list(PRESENT), ::4, ::4]
        if scale <= 1:
            pair = case.arrays[f"infer/scale_{scale}_plain"] + case.arrays[f"infer/scale_{scale}_flip"]
            case.agree("maps of a scale", maps, pair, "inference")
        total = total + maps
    case.agree("sum of maps", total, "infer/sum", "inference")


def test_cam(case, cam):
    case.agree("CAM at image size", cam[:, ::4, ::4], "infer/norm_cam", "inference", "absolute")


def test_stored_cam_is_near(case, cam):
    check_stored_cam(case, photo(84, 108, 11), multi_hot(PRESENT)[0], SCALES, cam.numpy(), 0.22 if is_eps(case) else 0.45)
