"""Stage `classifier`: train the network whose maps become CAMs."""

from functools import partial
from typing import Any

from torch import Tensor

from wsss import wrappers
from wsss.data.further import require_plain
from wsss.data.manifest import Dataset, load_manifest
from wsss.data.stage_inputs import label_files, saliency_files, training_records
from wsss.data.torch_sets import TrainingSet
from wsss.engine.atomic import write_json
from wsss.engine.explain import for_people
from wsss.engine.task import Task
from wsss.methods.base import Method, Telling, require_output
from wsss.methods.build import build_method
from wsss.methods.probe import probe_maps
from wsss.methods.sources import check_sources
from wsss.score.self_report import about_classifier
from wsss.sections.classifier import Classifier
from wsss.sections.section import typed
from wsss.train.classifier_check import check, split_for_check
from wsss.train.loop import Learner
from wsss.train.start import load_initial, start_devices
from wsss.train.training import train
from wsss.train.wrapper_check import pseudo_label_facts
from wsss.wrappers.base import Wrapper


def run(task: Task) -> None:
    """Train the recipe's net on image labels (and the per-pixel labels or saliency maps some methods add)."""
    settings = typed(task.settings, Classifier)
    device = start_devices(task, settings.batch_size)
    dataset = load_manifest(task.inputs["manifest"])
    method = initial_method(task, dataset)
    labelled_only = not settings.unlabelled
    split = split_for_check(task, dataset, training_records(dataset, labelled_only=labelled_only), method.spec.image_logits, settings.held_out)
    records = split.training
    needs = method.spec.needs
    check_sources(task.params["recipe"]["net"], needs, "ir_labels" in task.inputs, settings.saliency, "classifier")
    label_path = label_files(task, "ir_labels", records) if "ir_labels" in needs else None
    saliency_path = saliency_files(task, dataset, records) if "saliency" in needs else None
    probe_maps(method)
    trained = wrapped(task, method)
    further = trained.further_arrays()
    require_plain(further)

    def check_trained(history: list[dict[str, float]]) -> None:
        start = partial(initial_method, task, dataset)
        facts = check(task, dataset, split, method, history, device, start)
        if labels := pseudo_label_facts(task, dataset, records, trained, device):
            facts["pseudo_labels"] = labels
        write_json(task.outputs["check"], facts)
        about_classifier(task, facts)

    samples = TrainingSet(dataset, records, settings.augmentation, label_path, saliency_path, further)
    facts = {"classes": list(dataset.classes)}
    train(task, settings, learner_of(trained), samples, device, check=check_trained, saved=method, facts=facts)


def learner_of(trained: Method | Wrapper) -> Learner:
    """A method, or a wrapper around it: its loss is of the forward pass that it asks for."""
    words = for_people(f"net: forward gave no {{key}}; it was asked for {', '.join(sorted(trained.loss_want))} (loss_want)")

    def step_loss(batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        batch = Telling(batch, for_people(f"net: a batch has no {{key}}; it holds {', '.join(sorted(batch))}, what further_arrays gives among it"))
        out = require_output(trained(batch, trained.loss_want), batch["y"])
        out.views, out.features = Telling(out.views, words), Telling(out.features, words)
        return trained.loss(batch, out, step)

    groups = [{**group, "params": list(group["params"])} for group in trained.param_groups()]
    return Learner(trained, groups, step_loss, trained.after_step)


def initial_method(task: Task, dataset: Dataset) -> Method:
    """The recipe's network before any training."""
    method = build_method(task, dataset.num_classes)
    load_initial(task, method, task.params["recipe"]["backbone"])
    return method


def wrapped(task: Task, method: Method) -> Method | Wrapper:
    """What is trained in the method's place: a wrapper around it where the recipe has one, else the method itself.

    Raises:
        UserError: the method lacks what the wrapper needs, or an option the wrapper does not have.
    """
    wrapper = task.params.get("wrapper")
    if not wrapper:
        return method
    family: type[Wrapper] = wrappers.get(wrapper["name"])
    return family(method, wrapper["options"])
