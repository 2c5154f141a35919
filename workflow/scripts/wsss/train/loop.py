"""The one training loop: step-based, resumable to the bit on the CPU, the same for every network.

All randomness is a function of (seed, step): data order and augmentation through `StepSampler`, and
dropout through a per-step torch seed, so a checkpoint needs weights, optimiser and step only.
Several processes (`wsss.ranks`) share each batch; number 0 writes the checkpoints.
"""

import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from wsss import ranks
from wsss.data.forked_loader import Samples, forked_loader
from wsss.engine.atomic import write_bytes
from wsss.engine.explain import for_people
from wsss.engine.signals import graceful_stop, stop_requested
from wsss.errors import UserError
from wsss.sections.section import required
from wsss.sections.training import Training
from wsss.train.device import autocast, autocast_dtype
from wsss.train.optim import build_optimiser, learning_rate, set_learning_rate
from wsss.train.sampler import StepSampler, steps_per_epoch

log = logging.getLogger(__name__)
FORM = for_people('it must give scalar tensors by name, with "total" to minimise (docs/method_contract.md)')
LOWER = for_people("lower the learning rate, or set compute.precision: fp32; the last checkpoint is untouched")
LOOK = for_people("nothing is learned yet, so look at the weights it starts from, and at what the net's loss computes")
StepLoss = Callable[[dict[str, Any], int], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Learner:
    """A network and how it learns.

    Attributes:
        network: the module whose state is trained and saved.
        groups: of parameters, with lr_scale and weight_decay (`Method.param_groups`).
        step_loss: (batch, step) -> {"total": scalar, ...}; finite for every legal batch.
        after_step: called with the number of each step that was made.
    """

    network: torch.nn.Module
    groups: list[dict]
    step_loss: StepLoss
    after_step: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Job:
    """What one training needs.

    Attributes:
        settings: the stage's section (optimiser, lr, batch_size, steps or epochs, ...).
        runtime: device settings (precision, workers, checkpoint_seconds).
        state_path: resume file; not a declared output, so that Snakemake leaves it alone.
        fingerprint: of parameters, code and inputs; a state of another fingerprint is not resumed.
    """

    learner: Learner
    dataset: Samples
    settings: Training
    runtime: dict[str, Any]
    seed: int
    device: torch.device
    state_path: Path
    fingerprint: str
    waited: list[float] = field(default_factory=list)  # seconds for each batch, filled by `fit`


def total_steps(length: int, settings: Training) -> int:
    """`steps` where given, else `epochs` times the complete batches of one pass, but `min_steps` at least."""
    if settings.steps:
        return settings.steps
    passes = required(settings.epochs) * steps_per_epoch(length, settings.batch_size)
    return max(passes, settings.min_steps or 0)


def fit(job: Job) -> list[dict[str, float]]:
    """Train to the end, or stop after saving when SIGTERM asks for it.

    Returns:
        One row a step: step, lr, and the named losses.

    Raises:
        UserError: a loss that is not finite (with step, learning rate and ids of the batch).
        SystemExit: SIGTERM arrived; the state is saved.
    """
    steps = total_steps(len(job.dataset), job.settings)
    network = job.learner.network.to(job.device).to(memory_format=torch.channels_last)
    optimiser = build_optimiser(job.learner.groups, job.settings)
    half = autocast_dtype(job.device, job.runtime["precision"]) is torch.float16
    scaler = torch.amp.GradScaler(job.device.type, enabled=half)
    start, history = _resume(job, optimiser, scaler)
    log.info("training %d steps of %d images, from step %d on %s", steps, job.settings.batch_size, start, job.device)
    network.train()
    with graceful_stop():
        _run_steps(job, start, steps, optimiser, scaler, history)
    network.eval()
    return history


def _run_steps(job: Job, start: int, steps: int, optimiser: torch.optim.Optimizer, scaler: Any, history: list) -> None:
    """The steps from `start` on; their rows are appended to `history`."""
    saved = time.monotonic()
    pending: list[tuple[int, float, dict[str, torch.Tensor], list[str]]] = []
    for step, batch in enumerate(_timed(_loader(job, start, steps), job.waited), start):
        lr = learning_rate(step, steps, job.settings)
        set_learning_rate(optimiser, lr)
        losses = _step(job, batch, step, optimiser, scaler)
        pending.append((step, lr, losses, batch["id"]))
        due = ranks.rank() == 0 and time.monotonic() - saved >= job.runtime["checkpoint_seconds"]
        stop, due = ranks.agree(stop_requested(), due)  # asked once: what is true for saving must be true for leaving
        save = stop or due
        if save or step + 1 == steps or len(pending) >= job.runtime["log_every"]:
            history += _flush(pending)
            _report(history, steps)
        if save and ranks.rank() == 0:
            _save(job, step + 1, optimiser, scaler, history)
            saved = time.monotonic()
        if stop:
            log.info("stopped by SIGTERM after step %d; the same command goes on from here", step + 1)
            raise SystemExit(143)


def _timed(batches: Iterable[dict], waited: list[float]) -> Iterator[dict]:
    """The same batches; how long each was waited for is noted."""
    source = iter(batches)
    while True:
        start = time.monotonic()
        try:
            batch = next(source)
        except StopIteration:
            return
        waited.append(time.monotonic() - start)
        yield batch


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of torch's generators in one step, 32 bits: that of the CPU keeps no more. Another rank has other images, so other dropout."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def _step(job: Job, batch: dict, step: int, optimiser: torch.optim.Optimizer, scaler: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(step_seed(job.seed, step, ranks.rank()))
    batch = to_device(batch, job.device)
    with autocast(job.device, job.runtime["precision"]):
        losses = require_losses(job.learner.step_loss(batch, step))
    scaler.scale(losses["total"]).backward()
    learning = [p for group in optimiser.param_groups for p in group["params"]]
    ranks.average_gradients(learning)
    if job.settings.clip_norm:
        scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(learning, job.settings.clip_norm)
    scaler.step(optimiser)
    scaler.update()
    optimiser.zero_grad(set_to_none=True)
    if job.learner.after_step is not None:
        job.learner.after_step(step)
    return {name: value.detach() for name, value in losses.items()}


def require_losses(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The losses of a step, where they are of the contract's form. Raises UserError, which says what it is, where they are not."""
    if not isinstance(losses, dict) or "total" not in losses:
        names = f"names {', '.join(losses)}" if isinstance(losses, dict) else f"a {type(losses).__name__}"
        raise UserError(f"net: loss gave {names}; {FORM}")
    if wrong := [name for name, value in losses.items() if not torch.is_tensor(value) or value.dim()]:
        raise UserError(f"net: loss gave {', '.join(wrong)}, which is no scalar tensor; {FORM}")
    if not losses["total"].requires_grad:
        raise UserError("net: loss gave a total without a gradient: nothing that learns took part in it (was it detached?)")
    return losses


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Move the tensors of a batch; images in channels_last."""
    moved = {}
    for key, value in batch.items():
        if torch.is_tensor(value):
            layout = torch.channels_last if value.dim() == 4 else torch.preserve_format
            value = value.to(device, non_blocking=True, memory_format=layout)
        moved[key] = value
    return moved


def first_batch(job: Job) -> dict[str, Any]:
    """The batch of step 0, on the CPU, read by this process."""
    return next(iter(_loader(replace(job, runtime={**job.runtime, "workers": 0}), 0, 1)))


def _loader(job: Job, start: int, stop: int) -> DataLoader:
    workers = min(job.runtime["workers"], max(stop - start, 0))
    place = ranks.rank(), ranks.world()
    sampler = StepSampler(len(job.dataset), job.settings.batch_size, job.seed, start, stop, *place)
    return forked_loader(
        job.dataset,
        workers,
        batch_sampler=sampler,
        pin_memory=job.device.type == "cuda",
        generator=torch.Generator().manual_seed(job.seed),
    )


def _flush(pending: list) -> list[dict[str, float]]:
    """Bring losses, the mean over processes, to the host in one go; abort on a loss that is not finite."""
    rows = []
    for step, lr, losses, ids in pending:
        values = {name: float(ranks.mean_over_ranks(value)) for name, value in losses.items()}
        if not all(abs(value) < float("inf") for value in values.values()):
            batch = [item_id for part in ranks.gather(ids) for item_id in part]
            mend = LOWER if step else LOOK
            raise UserError(f"loss is not finite at step {step} (lr {lr:g}): {values}; batch: {', '.join(map(str, batch))}; {mend}")
        rows.append({"step": step, "lr": lr, **values})
    pending.clear()
    return rows


def _report(history: list[dict[str, float]], steps: int) -> None:
    recent = history[-20:]
    mean = sum(row["total"] for row in recent) / len(recent)
    log.info("step %d/%d  loss %.4f  lr %.3g", history[-1]["step"] + 1, steps, mean, history[-1]["lr"])


def _save(job: Job, step: int, optimiser: torch.optim.Optimizer, scaler: Any, history: list) -> None:
    state = {
        "fingerprint": job.fingerprint,
        "step": step,
        "network": job.learner.network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
        "history": history,
    }
    buffer = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(state, buffer)
    write_bytes(job.state_path, buffer.getbuffer())


def _resume(job: Job, optimiser: torch.optim.Optimizer, scaler: Any) -> tuple[int, list[dict[str, float]]]:
    if not job.state_path.exists():
        return 0, []
    try:
        state = torch.load(job.state_path, map_location="cpu", weights_only=True)  # else Adam asks the GPU for its step
    except Exception as error:  # a damaged state costs time, never results
        log.warning("%s: not readable (%s); training starts over", job.state_path, error)
        return 0, []
    if state.get("fingerprint") != job.fingerprint:
        log.info("%s belongs to other settings, code, packages or inputs; training starts over", job.state_path)
        return 0, []
    job.learner.network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    return state["step"], list(state["history"])
