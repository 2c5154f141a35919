"""The refinements that learn affinities and walk over them, by the recipe's `refine`.

Names map to modules that are imported when asked for, so that editing one reruns nothing of the other, nor editing
a walk any training. A learner, for the stage `affinity`, has

- network(settings): the network, with random weights;
- samples(task, dataset, records): its training set, the labels being checked before any training;
- finish(task, network, dataset, device): what remains to be done when it is trained, or None;

and a walker, for the stage `pseudo_masks`,

- network(settings, walk): the same network; `walk` is the stage's own section;
- see(network, image): what the network says of one normalised image (3, H, W);
- mask(cams, record, size_hw, walk, see): the pseudo-mask (H, W) uint8, `see` being a function without arguments;
- where it is named in wsss.found.CUT_AFTER, scores(the same): the walked scores that its background cuts.
"""

from importlib import import_module
from types import ModuleType

LEARNERS = {"irn": "wsss.stages.learn_irn", "affinitynet": "wsss.stages.learn_affinitynet"}
WALKERS = {"irn": "wsss.stages.walk_irn", "affinitynet": "wsss.stages.walk_affinitynet"}


def learner(refine: str) -> ModuleType:
    """The module that trains for a refinement; code digests of `affinity` take its name from LEARNERS."""
    return import_module(LEARNERS[refine])


def walker(refine: str) -> ModuleType:
    """The module that makes its masks; code digests of `pseudo_masks` take its name from WALKERS."""
    return import_module(WALKERS[refine])
