"""A small training without a task, for tests of the loop."""

import numpy as np
import torch
from sections import settings_of
from torch import nn
from wsss.train.loop import Job, Learner

POLY = {
    "optimiser": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "schedule": "poly",
    "power": 0.9,
}
SETTINGS = {**POLY, "batch_size": 4, "steps": 12}
RUNTIME = {"precision": "fp32", "workers": 0, "checkpoint_seconds": 1e9, "log_every": 3}


class Samples(torch.utils.data.Dataset):
    """Ten noisy images; like real samples a pure function of (index, seed)."""

    def __len__(self):
        return 10

    def __getitem__(self, key):
        index, seed = key
        image = np.random.default_rng([index, seed]).normal(index % 2, 1, (3, 8, 8)).astype(np.float32)
        return {
            "id": f"image{index}",
            "image": torch.from_numpy(image),
            "y": torch.tensor([float(index % 2)]),
        }


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 1)
    )


def job(folder, net=None, *, settings=(), runtime=(), fingerprint="f", hook=None, after_step=None, **facts):
    net = net or network()

    def step_loss(batch, step):
        loss = nn.functional.binary_cross_entropy_with_logits(net(batch["image"]), batch["y"])
        if hook:
            loss = hook(loss, step) if hook(loss, step) is not None else loss
        return {"total": loss, "twice": 2 * loss}

    groups = [{"params": list(net.parameters()), "lr_scale": 1.0, "weight_decay": None}]
    return Job(
        learner=Learner(net, groups, step_loss, after_step),
        dataset=Samples(),
        settings=settings_of({**SETTINGS, **dict(settings)}),
        runtime={**RUNTIME, **dict(runtime)},
        seed=1,
        device=torch.device("cpu"),
        state_path=folder / "train_state.pt",
        fingerprint=fingerprint,
        **facts,
    )
