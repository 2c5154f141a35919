"""The refinements that learn affinities and walk over them, by the recipe's `refine`.

Names map to modules that are imported when asked for, so that editing one reruns nothing of the other, nor editing
a walk any training. A learner, for the stage `affinity`, has

- network(settings): the network, with random weights;
- samples(task, settings, dataset, records): its training set, the labels being checked before any training;
- where its network learns something after the last step, finish(settings, network, dataset, device): a function that
  does it, or None;

and a walker, for the stage `pseudo_masks`,

- network(net_settings, walk_settings): the same network; `walk_settings` are the stage's own section;
- run_network(network, image): what the network says of one normalised image (3, H, W);
- mask(cams, record, size_hw, walk_settings, bg, network_output): the pseudo-mask (H, W) uint8; `bg` is the background with its
  number, `network_output` a function without arguments that runs the network on the record's image;
- where it is named in wsss.found.CUT_AFTER, scores(the same but bg): the walked scores that its background cuts.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

# What makes masks, given the ids that are still to do; and what the index says of them: background, scales, what the CRF starts from.
Work = tuple[Callable[[set[str]], Iterator[str]], dict[str, Any]]

LEARNERS = {"irn": "wsss.refine.learn_irn", "affinitynet": "wsss.refine.learn_affinitynet"}
WALKERS = {"irn": "wsss.refine.walk_irn", "affinitynet": "wsss.refine.walk_affinitynet"}


def learner_module(refine: str) -> ModuleType:
    """The module that trains for a refinement; code digests of `affinity` take its name from LEARNERS."""
    return import_module(LEARNERS[refine])


def walker_module(refine: str) -> ModuleType:
    """The module that makes its masks; code digests of `pseudo_masks` take its name from WALKERS."""
    return import_module(WALKERS[refine])
