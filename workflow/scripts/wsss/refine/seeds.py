"""A CAM through the dense CRF, in a confident and an unsure pass (IRN, CVPR 2019)."""

import numpy as np

from wsss.refine.background import argmax_index, background
from wsss.refine.crf import IRN_LABEL, CrfParams, label_marginals, score_marginals
from wsss.sections.background import Rule


def seed_marginals(
    image: np.ndarray,
    cam: np.ndarray,
    confident: Rule,
    unsure: Rule,
    params: CrfParams = IRN_LABEL,
    bg_map: np.ndarray | None = None,
    unary: str = "labels",
) -> tuple[np.ndarray, np.ndarray]:
    """What the CRF makes of a CAM in its confident and its unsure pass.

    Args:
        image: (H, W, 3) uint8 RGB.
        cam: (K, H, W) float32 in [0, 1] at image size; K = 0 gives background everywhere.
        confident, unsure: background rules of the two passes (published: const 0.30 and 0.05; AMN 0.45 and 0.15).
        bg_map: (H, W) background map for rules of kind ``map``.
        unary: what the CRF starts from: ``labels``, the argmax trusted by params.gt_prob (IRN), or ``scores``,
            background and maps taken for probabilities (EPS, SEAM).

    Returns:
        Two (K+1, H, W) float32 stacks of probabilities, background first.
    """
    backgrounds = [background(cam, *rule, bg_map) for rule in (confident, unsure)]
    if unary == "scores":
        first, second = (np.concatenate([bg[None], cam]) for bg in backgrounds)
        return score_marginals(image, first, second, params)
    first, second = (argmax_index(cam, bg) for bg in backgrounds)
    return label_marginals(image, first, second, len(cam) + 1, params)
