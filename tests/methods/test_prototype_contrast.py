"""Pixel-to-prototype contrast, and PPC's own parts: against slow references, and on batches that have little to show."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_seam import batch_of, small
from wsss.methods import prototype_contrast
from wsss.methods.base import CamOut
from wsss.methods.ppc import PPC, PPCEPS
from wsss.methods.prototype_contrast import (
    Pixels,
    contrast,
    intra,
    pixels_of,
    prototype_scores,
    prototypes_of,
    pseudo_labels,
    scores_of,
    semi_hard_weights,
)
from wsss.methods.seam import strongest_class

OPTIONS = PPC.defaults
SCRATCH = {"bn": "train", "freeze": "none"}


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def batch(size=64, classes=3, n=2):
    saliency = random(n, 1, size, size)
    return {**batch_of(size, classes, n), "saliency": saliency}


# --- scores, pseudo-labels, prototypes -----------------------------------------------------------------


def test_golden_scores():
    """The lowest value is negative, since what is cut to 0 is then moved down by the minimum."""
    maps = torch.stack([torch.zeros(2, 2), torch.tensor([[1.0, 2.0], [3.0, 5.0]])])[None]
    found = scores_of(maps, 0.2)
    assert found[0, 0].flatten().tolist() == pytest.approx([0.2] * 4)
    assert found[0, 1].flatten().tolist() == pytest.approx([-0.25, 0.25, 0.5, 1.0], abs=1e-5)


def test_scores_of_flat_maps():
    assert scores_of(torch.zeros(1, 3, 4, 4), 0.1)[0, 1:].flatten().tolist() == pytest.approx([-1.0] * 32)
    assert torch.isfinite(scores_of(torch.full((1, 3, 4, 4), 7.0), 0.1)).all()


def test_pseudo_labels_are_of_background_and_present_classes():
    scores = torch.tensor([[0.2, 0.9, 0.1], [0.2, 0.3, 0.8]]).T.reshape(1, 3, 1, 2)
    assert pseudo_labels(scores, torch.tensor([[1.0, 1.0]])).tolist() == [1, 2]
    assert pseudo_labels(scores, torch.tensor([[1.0, 0.0]])).tolist() == [1, 1]
    assert pseudo_labels(scores, torch.tensor([[0.0, 0.0]])).tolist() == [0, 0]


def test_golden_prototype():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    found = prototypes_of(features, torch.tensor([[0.6, 0.8, 0.1]]), torch.tensor([[0, 1]]))
    assert found[0].tolist() == pytest.approx([0.6, 0.8])
    # Weights that are negative together turn nothing round; a sum of 0 is legal.
    assert prototypes_of(features, torch.tensor([[-0.6, -0.8, -1.0]]), torch.tensor([[0, 1]]))[0].tolist() == pytest.approx([0.6, 0.8])
    assert torch.isfinite(prototypes_of(features, torch.tensor([[0.5, -0.5, 0.0]]), torch.tensor([[0, 1]]))).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("background", ["constant", "inverse"])
def test_scores_for_prototypes(masked, background):
    scores, y = scores_of(random(2, 4, 5, 5), 0.2), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    found = prototype_scores(scores, y, {"mask_prototypes": masked, "background_prototype": background})
    assert torch.isinf(found).any((2, 3)).tolist() == ([[False, False, True, False], [False, True, True, True]] if masked else [[False] * 4] * 2)
    assert torch.equal(found[0, [1, 3]], scores[0, [1, 3]])
    expected = torch.full((5, 5), 0.2) if background == "constant" else 1 - scores[0, [1, 3]].amax(0).clamp(min=0)
    torch.testing.assert_close(found[0, 0], expected)


def test_classes_that_no_image_has_are_in_no_denominator():
    y = torch.tensor([[1.0, 0, 0], [1, 0, 1]])
    views = [pixels_of(random(2, 6, 4, 4, seed=s), random(2, 4, 4, 4, seed=s + 9), y, {**OPTIONS, "mask_prototypes": True}) for s in (0, 1)]
    assert views[0].known.tolist() == [True, True, False, True]
    moved = [Pixels(v.directions, v.labels, v.prototypes.index_fill(0, torch.tensor(2), 9.0), v.known) for v in views]
    torch.manual_seed(0)
    found = contrast(*views, OPTIONS)
    torch.manual_seed(0)
    assert contrast(*moved, OPTIONS) == found and all(torch.isfinite(term) for term in found.values())


# --- semi-hard pixels ----------------------------------------------------------------------------------


def slow_weights(labels, similarity, chance, share):
    """Class by class with sorted lists."""
    weights, classes = np.zeros(len(labels)), sorted(set(labels))
    for c in classes:
        pixels = [i for i, label in enumerate(labels) if label == c]
        half, end = len(pixels) // 2, int(share * len(pixels))
        drawn = sorted(pixels, key=lambda i: chance[i])[:half]
        hard = sorted(pixels, key=lambda i: similarity[i])[end - half : end]
        for i in drawn + hard:
            weights[i] += 1 / (2 * half * len(classes))
    return weights


@pytest.mark.parametrize("n", [1, 2, 3, 10, 201])
@pytest.mark.parametrize("share", [0.5, 0.6, 1.0])
def test_semi_hard_weights_equal_a_slow_reference(n, share):
    labels = torch.randint(0, 4, (n,), generator=torch.Generator().manual_seed(n))
    similarity, chance = random(n, seed=1), random(n, seed=2)
    found = semi_hard_weights(labels, similarity, chance, share)
    np.testing.assert_allclose(found, slow_weights(labels.tolist(), similarity.tolist(), chance.tolist(), share), rtol=1e-6)


def test_a_class_of_one_pixel_adds_nothing_and_counts():
    labels = torch.tensor([0, 0, 2])
    assert semi_hard_weights(labels, torch.arange(3.0), torch.arange(3.0), 0.6).tolist() == pytest.approx([0.5, 0, 0])


@pytest.mark.parametrize("n", [5, 10, 45, 95, 1000])
def test_hardest_tenth_is_left_out(n):
    weights = semi_hard_weights(torch.zeros(n, dtype=torch.int64), torch.arange(float(n)), -torch.arange(float(n)), 0.6)
    taken = (weights[: int(0.6 * n)] > 0).nonzero().flatten()
    assert taken.min() >= int(0.6 * n) - n // 2 and taken.max() == int(0.6 * n) - 1


def test_half_of_the_pixels_is_drawn_anew(monkeypatch):
    logits, labels = random(64, 5) * 10, torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    first, second = (intra(logits, labels, OPTIONS) for _ in range(2))
    torch.manual_seed(0)
    assert first != second and intra(logits, labels, OPTIONS) == first


# --- the three terms -----------------------------------------------------------------------------------


def slow_contrast(views, options):
    """The equations, pixel by pixel, in float64."""
    t, (first, last) = options["temperature"], options["negatives"]

    def pixel(f, prototypes, c):
        s = [float(f @ p) / t for p in prototypes]
        return np.log(sum(np.exp(s))) - s[c]

    def nce(view, prototypes, labels):
        return np.mean([pixel(f, prototypes, c) for f, c in zip(view[0], labels, strict=True)])

    def within(view):
        f, labels, prototypes = view
        similarities = f @ prototypes.T / t
        positive = similarities[np.arange(len(f)), labels]
        losses = []
        for s, p in zip(similarities, positive, strict=True):
            against = sorted(s, reverse=True)[first - 1 : last]
            losses.append(np.log(np.exp(p) + np.exp(against).sum()) - p)
        return float(slow_weights(labels.tolist(), positive, np.arange(len(f)), options["semi_hard"]) @ losses)

    a, b = [(v.directions.double().numpy(), v.labels.numpy(), v.prototypes.double().numpy()) for v in views]
    terms = (nce(a, b[2], a[1]) + nce(b, a[2], b[1]), nce(a, a[2], b[1]) + nce(b, b[2], a[1]), within(a) + within(b))
    return [options["contrast_weight"] * term / 2 for term in terms]


@pytest.mark.parametrize("classes", [1, 3, 20])
def test_terms_equal_a_slow_reference(classes, monkeypatch):
    monkeypatch.setattr(prototype_contrast, "chance_of", lambda labels: torch.arange(len(labels)).float())
    y = torch.zeros(2, classes)
    y[[0, 1], [0, classes - 1]] = 1
    views = [pixels_of(random(2, 6, 4, 5, seed=s), random(2, classes + 1, 4, 5, seed=s + 9), y, OPTIONS) for s in (0, 1)]
    found = [term.item() for term in contrast(*views, OPTIONS).values()]
    assert found == pytest.approx(slow_contrast(views, OPTIONS), rel=1e-5)


def test_no_gradient_reaches_prototypes_and_maps():
    projection, maps = random(2, 6, 4, 4).requires_grad_(), random(2, 4, 4, 4).requires_grad_()
    view = pixels_of(projection, maps, torch.ones(2, 3), OPTIONS)
    assert not view.prototypes.requires_grad and view.directions.requires_grad
    sum(contrast(view, view, OPTIONS).values()).backward()
    assert maps.grad is None and projection.grad.abs().max() > 0


DEAD = {"nothing projected": (0.0, 1.0), "no map": (1.0, 0.0), "neither": (0.0, 0.0)}


@pytest.mark.parametrize("case", DEAD)
@pytest.mark.parametrize("options", [{}, {"mask_prototypes": True}, {"background_prototype": "inverse"}])
@pytest.mark.parametrize("y", [torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), torch.ones(1, 2)], ids=["none", "one", "all"])
def test_batches_without_a_confident_pixel_are_legal(case, options, y):
    light, map_height = DEAD[case]
    projection, maps = (light * random(1, 6, 3, 3)).requires_grad_(), map_height * random(1, 3, 3, 3)
    view = pixels_of(projection, maps, y, {**OPTIONS, **options})
    terms = contrast(view, view, {**OPTIONS, **options})
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values()) and torch.isfinite(projection.grad).all()


# --- the networks --------------------------------------------------------------------------------------


def terms_of(net, given):
    torch.manual_seed(1)
    losses = net.loss(given, net(given, net.loss_want), 0)
    losses["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    return {name: value.item() for name, value in losses.items()}


@pytest.mark.parametrize("family", [PPC, PPCEPS])
def test_total_is_the_sum_of_all_terms(family):
    found = terms_of(small(family).eval(), batch())
    names = {"cls", "rvmin", "er", "ecr", "cross_prototype", "cross_label", "intra_view"} | ({"saliency"} if family is PPCEPS else set())
    assert set(found) == names | {"total"}
    assert found["total"] == pytest.approx(sum(found[name] for name in names), rel=1e-5)


@pytest.mark.parametrize("family", [PPC, PPCEPS])
@pytest.mark.parametrize("size, n", [(48, 1), (128, 2), (40, 2)], ids=["one image", "equal views", "copy is larger"])
def test_sizes_of_the_views(family, size, n):
    found = terms_of(small(family, second_size=128 if size != 48 else 24).eval(), batch(size, n=n))
    assert all(np.isfinite(value) for value in found.values())
    if size == 128:
        assert found["er"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("family", [PPC, PPCEPS])
def test_all_padding_and_one_class(family):
    given = batch(classes=1)
    given["image"], given["saliency"] = torch.zeros_like(given["image"]), torch.zeros_like(given["saliency"])
    assert all(np.isfinite(value) for value in terms_of(small(family, 1, **SCRATCH).train(), given).values())


def test_the_contrast_teaches_trunk_and_projector_alone():
    net, given = small(PPC).eval(), batch()
    losses = net.loss(given, net(given, net.loss_want), 0)
    sum(losses[name] for name in ("cross_prototype", "cross_label", "intra_view")).backward()
    moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert "projector.weight" in moved and not {"fc8.weight", "pcm.f9.weight"} & moved


def test_inference_projects_nothing(monkeypatch):
    net = small(PPC).eval()
    monkeypatch.setattr(net.projector, "forward", lambda last: pytest.fail("projected"))
    assert net.seed_maps(torch.randn(2, 3, 32, 32), torch.ones(1, 3)).shape[1] == 3


def test_on_seam_maps_are_compared_at_the_size_of_views_on_eps_on_their_grid():
    for family, sizes in ((PPC, [(64, 64), (128, 128)]), (PPCEPS, [(8, 8), (16, 16)])):
        net, given = small(family).eval(), batch()
        assert [size for _, size in net.looks(given, net(given, net.loss_want))] == sizes


def test_seeds_of_eps_are_softmax_of_the_class_maps():
    net, image = small(PPCEPS).eval(), torch.randn(1, 3, 40, 40)
    pair = torch.cat([image, image.flip(-1)])
    maps = net({"image": pair}, frozenset({"maps"})).maps.softmax(1)[:, 1:]
    torch.testing.assert_close(net.seed_maps(pair, torch.ones(1, 3))[0], maps[0] + maps[1].flip(-1))


def test_background_row_is_taught_on_eps_alone():
    maps = torch.full((1, 4, 2, 2), 3.0)
    assert small(PPCEPS).pixel_logits(CamOut(maps=maps))[0, :, 0, 0].tolist() == [3, 3, 3, 3]
    assert small(PPC).pixel_logits(CamOut(maps=maps))[0, :, 0, 0].tolist() == [0, 3, 3, 3]


def test_as_released_the_first_class_is_taken_for_the_background():
    """Listed are classes 2, 0 of the first image and 1, 2 of the second."""
    classes, maps = torch.tensor([[2, 0], [1, 2]]), torch.tensor([0.9, 0.5, 0.4]).reshape(1, 3, 1, 1).expand(2, -1, 1, 1)
    released = strongest_class(maps, small(PPCEPS).untouched(classes))
    assert released[0].flatten().tolist() == pytest.approx([0.9, 0, 0.4]) and released[1].flatten().tolist() == pytest.approx([0.9, 0, 0])
    mended = strongest_class(maps, small(PPCEPS, ecr_background="background").untouched(classes))
    assert mended[0].flatten().tolist() == mended[1].flatten().tolist() == pytest.approx([0.9, 0.5, 0])


def test_saliency_of_the_second_view():
    """Resized with the copy as released; directly, a cell takes the corner pixel of the crop."""
    given = batch()
    stretched, direct = (terms_of(small(PPCEPS, second_saliency=how).eval(), given) for how in ("stretched", "direct"))
    assert stretched["saliency"] != direct["saliency"] and stretched["cls"] == direct["cls"]


def test_projection_is_compared_on_the_grid_of_the_copy(monkeypatch):
    net, given, seen = small(PPC).eval(), batch(), []
    monkeypatch.setattr("wsss.methods.ppc.pixels_of", lambda *view: seen.append(view) or pixels_of(*view))
    net.loss(given, net(given, net.loss_want), 0)
    assert [features.shape for features, *_ in seen] == [(2, 128, 16, 16)] * 2
    assert [maps.shape for _, maps, *_ in seen] == [(2, 4, 16, 16)] * 2
    assert F.relu(seen[0][0]).equal(seen[0][0])
