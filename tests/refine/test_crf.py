"""The CRF helpers, by all backends, against plain pydensecrf."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from plain_crf import plain_crf, plain_marginals, scene, unary_from_labels, unary_from_softmax
from wsss.errors import UserError
from wsss.refine import crf
from wsss.refine.crf import (
    DEEPLAB_TEST,
    IRN_LABEL,
    label_energy,
    label_marginals,
    score_energy,
    score_marginals,
    softmax_crf,
    to_labels,
)

PACKAGE = pytest.param("pydensecrf", marks=pytest.mark.skipif(find_spec("pydensecrf") is None, reason="pydensecrf is not installed (pip install pydensecrf2==1.1)"))
BACKENDS = pytest.mark.parametrize("backend", ["lattice", "torch", PACKAGE])


def label_crf_pair(*arguments):
    return tuple(map(to_labels, label_marginals(*arguments)))


def score_crf_pair(*arguments):
    return tuple(map(to_labels, score_marginals(*arguments)))


def two_plain_crfs(image, labels_a, labels_b, n_labels, params=IRN_LABEL):
    found = []
    for labels in (labels_a, labels_b):
        unary = unary_from_labels(labels, n_labels, params.gt_prob, zero_unsure=False)
        found.append(plain_crf(image, unary, params))
    return found


@pytest.mark.parametrize("n, other", [(2, 1.203973), (3, 1.897120), (4, 2.302585)])
def test_label_energies(n, other):
    energy = label_energy(np.array([[0, 1]]), n, 0.7)
    assert energy[0, 0] == pytest.approx(0.356675, abs=1e-6) == energy[1, 1]
    assert energy[1, 0] == pytest.approx(other, abs=1e-6)
    np.testing.assert_array_equal(energy, unary_from_labels(np.array([[0, 1]]), n, 0.7, zero_unsure=False))


@BACKENDS
@pytest.mark.parametrize("n_labels", [2, 3, 7])
def test_pair_is_identical_to_two_crfs(n_labels, backend):
    image, labels_a = scene()
    labels_b = np.roll(labels_a, 6, axis=1)
    labels_b[:8, :8] = n_labels - 1
    ours = label_crf_pair(image, labels_a, labels_b, n_labels, replace(IRN_LABEL, backend=backend))
    for got, wanted in zip(ours, two_plain_crfs(image, labels_a, labels_b, n_labels), strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, wanted)
    assert (ours[0] != labels_a).any()


@pytest.mark.parametrize("label, n_labels", [(0, 2), (1, 2), (2, 4)])
def test_constant_labels_are_a_fixed_point_of_the_plain_crf(label, n_labels):
    image, labels = scene()
    constant = np.full_like(labels, label)
    ours = label_crf_pair(image, constant, labels, n_labels)
    for got, wanted in zip(ours, two_plain_crfs(image, constant, labels, n_labels), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_only_background_needs_no_crf(monkeypatch):
    monkeypatch.setattr(crf, "_backend", lambda params: pytest.fail("no CRF needed"))
    image, labels = scene()
    for out in label_crf_pair(image, labels * 0, labels * 0, 1):
        assert out.dtype == np.uint8 and not out.any()


@BACKENDS
@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000), (1, 7), (5, 1)])
def test_odd_sizes(size_hw, backend):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, size_hw)
    assert [out.shape for out in label_crf_pair(image, labels, 1 - labels, 2, replace(IRN_LABEL, backend=backend))] == [size_hw] * 2
    probs = rng.dirichlet((1, 1, 1), size_hw).transpose(2, 0, 1).astype(np.float32)
    assert softmax_crf(image, probs, replace(DEEPLAB_TEST, backend=backend)).shape == size_hw


def test_read_only_and_strided_images_are_accepted():
    image, labels = scene()
    wanted = label_crf_pair(image, labels, labels, 2)[0]
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(label_crf_pair(frozen, labels, labels, 2)[0], wanted)
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(label_crf_pair(strided, labels, labels, 2)[0], wanted)


def smooth_probs(image, classes, seed, sharpness):
    """Softmax of smooth random logits in which few classes are strong, as a segmentation net gives."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = rng.normal(size=(classes, 4, 1, 1))
    logits = waves[:, 0] * np.sin(6 * x + waves[:, 1]) + np.cos(5 * y + waves[:, 2]) * waves[:, 3]
    logits[4:] -= 7.0
    weights = np.exp(sharpness * logits)
    return (weights / weights.sum(0)).astype(np.float32)


@BACKENDS
def test_softmax_without_pruning_is_the_plain_crf(backend):
    image, _ = scene()
    probs = smooth_probs(image, 6, 0, 1.0)
    np.testing.assert_array_equal(
        softmax_crf(image, probs, replace(DEEPLAB_TEST, backend=backend), prune=0.0), plain_crf(image, unary_from_softmax(probs), DEEPLAB_TEST)
    )


@pytest.mark.parametrize("seed", range(4))
def test_pruned_labels_never_win_and_hardly_matter(seed):
    image, _ = scene(seed=seed)
    probs = smooth_probs(image, 21, seed, 1.5)
    kept = probs.max(axis=(1, 2)) >= 5e-3
    assert 1 < kept.sum() < 21
    full, pruned = softmax_crf(image, probs, prune=0.0), softmax_crf(image, probs)
    assert set(np.unique(full)) <= set(np.flatnonzero(kept))
    assert (full == pruned).mean() >= 0.999


def class_maps(image, rows):
    """(rows, H, W) bumps in [0, 1] side by side over the right-hand area, with noise; they do not sum to 1."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    centres = width // 2 + 6 + 8 * np.arange(rows)[:, None, None]
    bumps = np.exp(-((x - centres) ** 2 + (y - height // 2) ** 2) / 150)
    noise = np.random.default_rng(4).uniform(0.7, 1.0, bumps.shape)
    return (bumps * noise).astype(np.float32)


def stack(value, maps):
    return np.concatenate([np.full((1, *maps.shape[1:]), value, np.float32), maps])


@BACKENDS
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("params", [DEEPLAB_TEST, IRN_LABEL], ids=["deeplab", "irn"])
def test_score_pair_is_identical_to_two_crfs(rows, params, backend):
    params = replace(params, backend=backend)
    image, _ = scene()
    maps = class_maps(image, rows)
    stacks = [stack(value, maps) for value in (0.05, 0.2)]
    found = score_crf_pair(image, *stacks, params)
    for got, scores in zip(found, stacks, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, plain_crf(image, unary_from_softmax(scores), params))
    assert (found[0] != found[1]).any() and (found[0] != stacks[0].argmax(0)).any()


def test_equal_scores_are_refined_once(monkeypatch):
    image, _ = scene()
    scores, passes, infer = stack(0.2, class_maps(image, 2)), [], crf._infer
    monkeypatch.setattr(crf, "_infer", lambda *args: passes.extend(args[1]) or infer(*args))
    first, second = score_crf_pair(image, scores, scores.copy(), DEEPLAB_TEST)
    np.testing.assert_array_equal(first, second)
    assert len(passes) == 1 and first is not second


def test_scores_of_a_pixel_need_not_sum_to_one():
    image, _ = scene()
    scores = stack(0.2, class_maps(image, 2))
    shares = scores / scores.sum(0)
    found = score_crf_pair(image, scores, shares, DEEPLAB_TEST)
    assert (found[0] == found[1]).mean() > 0.999


def test_background_alone_needs_no_crf(monkeypatch):
    monkeypatch.setattr(crf, "_backend", lambda params: pytest.fail("no CRF needed"))
    image, _ = scene()
    scores = np.ones((1, *image.shape[:2]), np.float32)
    for out in score_crf_pair(image, scores, scores, DEEPLAB_TEST):
        assert out.dtype == np.uint8 and out.shape == image.shape[:2] and not out.any()


def test_marginal_of_a_weak_label_stays_below_the_bound():
    image, _ = scene()
    rng = np.random.default_rng(0)
    weak = np.full((1, *image.shape[:2]), 5e-3)
    rest = rng.dirichlet((0.3,) * 4, image.shape[:2]).transpose(2, 0, 1) * (1 - weak)
    probs = np.concatenate([rest, weak]).astype(np.float32)
    (marginals,) = crf._infer(image, [score_energy(probs)], DEEPLAB_TEST)
    assert marginals[4].max() < 5.3e-3


def test_one_strong_label_needs_no_crf():
    image, _ = scene()
    probs = np.full((5, *image.shape[:2]), 1e-3, np.float32)
    probs[3] = 0.996
    assert (softmax_crf(image, probs) == 3).all()


def test_missing_pydensecrf_says_how_to_install_it(monkeypatch):
    image, labels = scene()
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(UserError, match="pip install pydensecrf2"):
        label_crf_pair(image, labels, labels[::-1].copy(), 2, replace(IRN_LABEL, backend="pydensecrf"))


@BACKENDS
@pytest.mark.parametrize("marginals", [label_marginals, score_marginals])
def test_marginals_are_pydensecrfs(marginals, backend):
    """What is kept for AffinityNet: probabilities of every row, before the argmax."""
    image, labels = scene()
    if marginals is label_marginals:
        inputs, unary = (labels, labels[:, ::-1].copy(), 2), unary_from_labels(labels, 2, 0.7, zero_unsure=False)
    else:
        scores = stack(0.2, class_maps(image, 2))
        inputs, unary = (scores, scores[:, ::-1].copy()), unary_from_softmax(scores)
    weak = replace(IRN_LABEL, iterations=2, compat_gaussian=0.3, compat_bilateral=0.3, backend=backend)
    found, _ = marginals(image, *inputs, weak)
    np.testing.assert_allclose(found, plain_marginals(image, unary, weak), atol=1e-6 if backend == "pydensecrf" else 2e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    assert 0.01 < found.max(0).min() < 0.99  # not a mere one-hot


def test_marginals_of_one_label_everywhere_are_sure():
    image, labels = scene()
    sure, _ = label_marginals(image, np.ones_like(labels), labels, 2)
    assert (sure[1] == 1).all() and (sure[0] == 0).all()


def test_hard_labels_without_trust_are_refused():
    labels = np.zeros((4, 4), np.int64)
    labels[2:] = 1
    with pytest.raises(ValueError, match="gt_prob.*crf_params"):
        label_marginals(np.zeros((4, 4, 3), np.uint8), labels, labels, 2, replace(IRN_LABEL, gt_prob=None))


def test_unknown_backend_is_refused():
    image, labels = scene()
    with pytest.raises(UserError, match="no backend is called cuda; set crf.backend"):
        label_marginals(image, labels, 1 - labels, 2, replace(IRN_LABEL, backend="cuda"))
