"""The dense CRF written out with pydensecrf2, and a scene for it."""

import numpy as np
import pydensecrf.densecrf as densecrf


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
    n_labels, size_hw = len(unary), image.shape[:2]
    net = densecrf.DenseCRF2D(size_hw[1], size_hw[0], n_labels)
    net.setUnaryEnergy(np.ascontiguousarray(unary))
    net.addPairwiseGaussian(sxy=params.sxy_gaussian, compat=params.compat_gaussian)
    net.addPairwiseBilateral(
        sxy=params.sxy_bilateral, srgb=params.srgb, rgbim=image.copy(), compat=params.compat_bilateral
    )
    return np.asarray(net.inference(params.iterations)).argmax(0).reshape(size_hw)
