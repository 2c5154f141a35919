"""The dense CRF written out with pydensecrf2, and a scene for it."""

import numpy as np
import pytest


def oracle(module):
    """pydensecrf's `densecrf` or `utils`; the test is skipped where it is not installed."""
    return pytest.importorskip(f"pydensecrf.{module}", reason="pydensecrf is not installed (pip install pydensecrf2==1.1): no oracle for the CRF")


def unary_from_labels(*arguments, **options):
    return oracle("utils").unary_from_labels(*arguments, **options)


def unary_from_softmax(scores):
    return oracle("utils").unary_from_softmax(scores)


def scene(height=40, width=56, seed=0):
    """A noisy image of two flat areas and a label map that misses the border between them."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, width // 2 :] = 180
    image = (image + rng.integers(0, 12, image.shape)).astype(np.uint8)
    labels = np.zeros((height, width), np.int64)
    labels[5:-5, width // 2 + 5 :] = 1
    return image, labels


def plain_crf(image, unary, params):
    """(H, W) labels."""
    return plain_marginals(image, unary, params).argmax(0)


def plain_marginals(image, unary, params):
    """(n, H, W) float32."""
    n_labels, size_hw = len(unary), image.shape[:2]
    net = oracle("densecrf").DenseCRF2D(size_hw[1], size_hw[0], n_labels)
    net.setUnaryEnergy(np.ascontiguousarray(unary))
    net.addPairwiseGaussian(sxy=params.sxy_gaussian, compat=params.compat_gaussian)
    net.addPairwiseBilateral(
        sxy=params.sxy_bilateral, srgb=params.srgb, rgbim=image.copy(), compat=params.compat_bilateral
    )
    return np.asarray(net.inference(params.iterations)).reshape(n_labels, *size_hw)
