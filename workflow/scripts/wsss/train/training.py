"""One training from start to end, for the stages classifier, affinity and segmentation: resume, train, check, save."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from wsss import ranks
from wsss.data.forked_loader import Samples
from wsss.engine import backup
from wsss.engine.atomic import drop_temporaries
from wsss.engine.task import Task
from wsss.io.models import save_model, write_history
from wsss.sections.training import Training
from wsss.train.loop import Job, Learner, fit
from wsss.train.optim import require_all_learn
from wsss.train.sanity import refuse_diverged
from wsss.train.start import initial_weights

log = logging.getLogger(__name__)


def train(
    task: Task,
    settings: Training,
    learner: Learner,
    dataset: Samples,
    device: torch.device,
    *,
    finish: Callable[[], None] | None = None,
    check: Callable[[list[dict[str, float]]], None] | None = None,
    saved: torch.nn.Module | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Train (or resume), then write model, history and run record; what finished before is not trained again.

    Args:
        finish: may change the trained network.
        check: looks at the trained network, given a row of the history a step.
        saved: the part of the learner's network that the model file holds; None: all of it.
        facts: plain data that the model file says of itself, beside what all say.

    Raises:
        UserError: the network diverged, or a part of it would not learn or not be saved; then nothing is written.
    """
    require_all_learn(learner.network, learner.groups, task.stage)
    state_path, mark = task.folder / "train_state.pt", task.fingerprint()
    if ranks.agree(ranks.rank() == 0 and backup.restore(task.outputs.values(), mark))[0]:
        ranks.leave()
        log.info("%s: this training had finished; its model is back in place", task.stage)
        tidy(task.folder, state_path)
        return  # run.json too is that training's
    job = Job(
        learner=learner,
        dataset=dataset,
        settings=settings,
        runtime={**task.runtime, **task.params["compute"], "workers": loader_workers(task)},
        seed=task.params["seed"],
        device=device,
        state_path=state_path,
        fingerprint=mark,
    )
    start = time.monotonic()
    history = fit(job)
    # This and `images` are of the steps of this run; the first batch has the workers' start in it.
    task.record.facts["waiting_for_batches"] = round(sum(job.waited) / (time.monotonic() - start), 4)
    ranks.leave()
    if finish is not None:
        finish()
    refuse_diverged(job, task.stage)
    if check is not None:
        check(history)
    write_history(task.outputs["history"], history)
    initial = initial_weights(task)
    save_model(task.outputs["model"], learner.network if saved is None else saved, params=task.params, **initial, **(facts or {}))
    task.write_record(images=len(job.waited) * settings.batch_size, **initial)
    backup.keep(task.outputs.values(), mark)
    tidy(task.folder, state_path)


def loader_workers(task: Task) -> int:
    """Processes that read images for each of those that train."""
    return min(task.runtime["workers"], max(task.threads // ranks.world(), 1))


def tidy(folder: Path, state_path: Path) -> None:
    """Remove what only an unfinished training needs, and what killed ones left."""
    state_path.unlink(missing_ok=True)
    drop_temporaries(folder)
