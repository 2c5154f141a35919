"""Stage `affinity`: train the network that says which pixels belong together, IRN or AffinityNet by the recipe."""

import torch

from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import training_records
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.models import read_model
from wsss.refine import walks
from wsss.sections.affinity import BY_REFINE
from wsss.sections.section import typed
from wsss.train.loop import Learner
from wsss.train.start import load_initial, start_devices
from wsss.train.training import train


def run(task: Task) -> None:
    """Train it on every labelled image; with `unlabelled: true` on the others too, which are background all over."""
    refine = task.params["refine"]
    settings = typed(task.settings, BY_REFINE[refine])
    device = start_devices(task, settings.batch_size)
    dataset = load_manifest(task.inputs["manifest"])
    records = training_records(dataset, labelled_only=not settings.unlabelled)
    module = walks.learner_module(refine)
    samples = module.samples(task, settings, dataset, records)
    network = module.network(task.params["network"])
    if "classifier" in task.inputs:
        network.load_backbone(classifier_trunk(task.inputs["classifier"]))
    else:
        load_initial(task, network, settings.backbone)
    finish = module.finish(settings, network, dataset, device) if hasattr(module, "finish") else None
    train(task, settings, Learner(network, network.param_groups(), network.loss), samples, device, finish=finish)


def classifier_trunk(path: str) -> dict[str, torch.Tensor]:
    """The trunk of a trained classifier, for nets that have no ImageNet weights (a random trunk sees nothing).

    Raises:
        UserError: a damaged model, or one that holds no trunk.
    """
    trunk = {k.removeprefix("backbone."): v for k, v in read_model(path)[0].items() if k.startswith("backbone.")}
    if not trunk:
        raise UserError(f"{path}: holds no tensors named backbone.*; the net's trunk must be its attribute `backbone` (docs/method_contract.md)")
    return trunk
