import logging
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from sections import settings_of
from torch import nn
from training_job import job
from wsss.engine import signals
from wsss.errors import UserError
from wsss.train import loop
from wsss.train.loop import fit, total_steps
from wsss.train.optim import build_optimiser, learning_rate, set_learning_rate


@pytest.fixture(autouse=True)
def _one_thread_and_no_signal(monkeypatch):
    monkeypatch.setattr(signals, "_stop", False)
    torch.set_num_threads(1)


def trained(folder, **changes):
    work = job(folder, **changes)
    history = fit(work)
    return {k: v.clone() for k, v in work.learner.network.state_dict().items()}, history


def sigterm_at(at):
    def hook(loss, step):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


def same(one, two):
    return (
        one[0].keys() == two[0].keys()
        and all(torch.equal(one[0][k], two[0][k]) for k in one[0])
        and one[1] == two[1]
    )


# --- schedule and optimiser ----------------------------------------------------------------------------


def test_seed_step_and_rank_each_give_other_draws(tmp_path):
    """torch's generator on the CPU keeps 32 bits of a seed, so what is packed above them would be lost."""
    drawn = []
    for seed in (1, 2):
        fit(replace(job(tmp_path / f"{seed}", hook=lambda loss, step: drawn.append(torch.rand(2).tolist())), seed=seed))
    assert len({tuple(one) for one in drawn}) == len(drawn) > 12
    places = [(seed, step, rank) for seed in (0, 1, 2**24) for step in (0, 1) for rank in (0, 1)]
    assert len({loop.step_seed(*place) for place in places}) == len(places)
    assert max(loop.step_seed(*place) for place in places) < 2**32


@pytest.mark.parametrize(
    "lr, steps, step, expected",
    [
        (0.1, 3305, 0, 0.1),
        (0.1, 3305, 1, 0.0999728),
        (0.1, 3305, 100, 0.0972727),
        (0.01, 20000, 1, 0.00999954999887),
        (0.01, 20000, 10000, 0.0053588673),
        (0.01, 20000, 19999, 1.34609e-6),
    ],
)
def test_poly_schedule(lr, steps, step, expected):
    assert learning_rate(step, steps, settings_of({"lr": lr, "schedule": "poly", "power": 0.9})) == pytest.approx(
        expected, rel=4e-6
    )  # as printed


def test_constant_schedule():
    assert {learning_rate(s, 10, settings_of({"lr": 0.3, "schedule": "constant"})) for s in range(10)} == {0.3}


COSINE = {"lr": 1.0, "schedule": "cosine", "min_lr": 0.2, "epochs": 10}


def test_cosine_and_warm_up():
    rates = [learning_rate(step, 100, settings_of(COSINE)) for step in (0, 25, 50, 100)]
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.2])
    assert learning_rate(99, 100, settings_of({"lr": 1.0, "schedule": "cosine"})) == pytest.approx((1 + np.cos(0.99 * np.pi)) / 2)
    for warmup in ({"warmup_epochs": 2}, {"warmup_steps": 20}, {"warmup_epochs": 9, "warmup_steps": 20}):
        warm = {**COSINE, **warmup, "warmup_lr": 0.1}
        assert [learning_rate(step, 100, settings_of(warm)) for step in (0, 10, 19)] == pytest.approx([0.1, 0.55, 0.955])
        # Afterwards the schedule stands where it would without a warm-up.
        assert [learning_rate(step, 100, settings_of(warm)) for step in (20, 70)] == [learning_rate(step, 100, settings_of(COSINE)) for step in (20, 70)]
    poly = {"lr": 1.0, "schedule": "poly", "power": 1.0, "warmup_steps": 4, "warmup_lr": 0.0}
    assert [learning_rate(step, 10, settings_of(poly)) for step in range(6)] == pytest.approx([0, 0.25, 0.5, 0.75, 0.6, 0.5])


@pytest.mark.parametrize("steps", [100, 97])
def test_a_rate_an_epoch_lags_one_behind(steps):
    late = [learning_rate(step, steps, settings_of({**COSINE, "rate_per": "epoch"})) for step in range(steps)]
    every = [learning_rate(step, steps, settings_of({**COSINE, "rate_per": "step"})) for step in range(steps)]
    assert len(set(late)) == 9 and late[0] == late[steps // 10] == every[0]
    first_of = [next(s for s in range(steps) if s * 10 // steps == epoch) for epoch in range(10)]
    wanted = [0.2 + 0.8 * (1 + np.cos(np.pi * max(epoch - 1, 0) / 10)) / 2 for epoch in range(10)]
    assert [late[step] for step in first_of] == pytest.approx(wanted)


@pytest.mark.parametrize(
    "settings, steps",
    [
        ({"steps": 7, "epochs": 3, "min_steps": 9}, 7),
        ({"steps": None, "epochs": 3}, 6),
        ({"epochs": 2}, 4),
        ({"epochs": 2, "min_steps": 9}, 9),
        ({"epochs": 2, "min_steps": 3}, 4),
        ({"epochs": 2, "min_steps": None}, 4),
    ],
)
def test_total_steps(settings, steps):
    assert total_steps(11, settings_of({"batch_size": 5, **settings})) == steps


def slope(value, **settings):
    """A weight after three steps down a slope of 1, from 0."""
    weight = nn.Parameter(torch.tensor([float(value)]))
    settings = {"optimiser": "sgd", "lr": 0.1, "momentum": 0, "weight_decay": 0.0, **settings}
    optimiser = build_optimiser([{"params": [weight], "lr_scale": 2.0, "weight_decay": None}], settings_of(settings))
    for _ in range(3):
        optimiser.zero_grad()
        weight.sum().backward()
        optimiser.step()
    return weight.item()


def test_momentum_weight_decay_and_scale_are_what_the_settings_say():
    assert slope(0) == pytest.approx(-0.6)
    assert slope(0, momentum=0.9) == pytest.approx(-0.2 * (1 + 1.9 + 2.71))
    assert slope(10, weight_decay=0.5) == pytest.approx(((10 * 0.9 - 0.2) * 0.9 - 0.2) * 0.9 - 0.2)


def test_groups_keep_their_own_decay_and_share_of_the_rate():
    one, two = (nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [
        {"params": [one], "lr_scale": 1.0, "weight_decay": None},
        {"params": [two], "lr_scale": 20.0, "weight_decay": 0.0},
    ]
    optimiser = build_optimiser(groups, settings_of({"optimiser": "adamw", "lr": 0.1, "weight_decay": 0.3}))
    set_learning_rate(optimiser, 0.01)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.01, 0.2])
    assert [g["weight_decay"] for g in optimiser.param_groups] == [0.3, 0.0]


def test_momentum_reaches_the_training(tmp_path):
    assert not same(trained(tmp_path), trained(tmp_path, settings={"momentum": 0}))


def clipped_by_hand(net, longest, lr=0.05):
    """Weights after three steps of plain gradient descent on `Samples`, one number at a time."""
    batches, weights = [], list(net.parameters())
    for step in range(3):
        images = torch.stack([torch.full((3, 8, 8), (step + 1.0) * (i + 1)) for i in range(4)])
        batches.append(images)
        net.zero_grad()
        net(images).square().mean().backward()
        norm = sum(float(g) ** 2 for w in weights if w.grad is not None for g in w.grad.flatten()) ** 0.5
        with torch.no_grad():
            for weight in weights:
                if weight.grad is not None:
                    weight -= lr * weight.grad * min(1.0, longest / norm)
    return batches, net.state_dict()


@pytest.mark.parametrize("longest, scaled", [(0.05, False), (0.05, True), (1e9, False)])
def test_a_long_gradient_is_scaled_down_to_clip_norm(tmp_path, longest, scaled):
    """Over all that learns at once, whatever the loss scale of half precision; a short one stays as it is."""
    make = lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))  # noqa: E731
    torch.manual_seed(3)
    net = make()
    mine = make()
    mine.load_state_dict(net.state_dict())
    for one in (net, mine):
        one.unused = nn.Parameter(torch.ones(2))  # without a gradient, as parts that a loss does not reach
    batches, expected = clipped_by_hand(net, longest)
    settings = {"momentum": 0, "weight_decay": 0.0, "clip_norm": longest}
    work = job(tmp_path, mine, settings=settings)
    work = replace(work, learner=replace(work.learner, step_loss=lambda batch, step: {"total": mine(batch["image"]).square().mean()}))
    optimiser = build_optimiser(work.learner.groups, work.settings)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=512.0)
    for step, images in enumerate(batches):
        loop._step(work, {"image": images, "id": []}, step, optimiser, scaler)
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_clip_norm_reaches_the_training(tmp_path):
    plain = trained(tmp_path)
    assert not same(plain, trained(tmp_path, settings={"clip_norm": 1e-3}))
    assert same(plain, trained(tmp_path, settings={"clip_norm": None}))


# --- training and resume -------------------------------------------------------------------------------


def test_training_learns_and_records_every_step(tmp_path):
    history = trained(tmp_path, settings={"steps": 60})[1]
    assert [row["step"] for row in history] == list(range(60))
    assert history[0]["lr"] == 0.05 and history[59]["lr"] == pytest.approx(0.05 * (1 / 60) ** 0.9)
    losses = [row["total"] for row in history]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) and all(
        r["twice"] == pytest.approx(2 * r["total"]) for r in history
    )


def test_training_repeats(tmp_path):
    assert same(trained(tmp_path), trained(tmp_path))


def test_the_network_ends_in_eval(tmp_path):
    work = job(tmp_path)
    fit(work)
    assert not work.learner.network.training


@pytest.mark.parametrize("at", [0, 4, 11])
def test_stopped_and_resumed_is_the_undisturbed_run(tmp_path, at):
    """Bit for bit, with dropout, batch norm and momentum; stopped by a real SIGTERM."""
    whole = trained(tmp_path / "whole")
    with pytest.raises(SystemExit) as caught:
        trained(tmp_path / "cut", hook=sigterm_at(at))
    assert caught.value.code == 143
    signals._stop = False
    assert torch.load(tmp_path / "cut/train_state.pt", weights_only=True)["step"] == at + 1
    torch.manual_seed(99)  # nothing may depend on what torch's generator went through before
    assert same(whole, trained(tmp_path / "cut"))


def test_a_signal_while_the_step_ends_saves_before_it_leaves(tmp_path, monkeypatch):
    """SIGTERM between the question whether to save and the question whether to leave."""
    answers = iter([False])  # asked twice in the first step, it would leave unsaved
    monkeypatch.setattr("wsss.train.loop.stop_requested", lambda: next(answers, True))
    with pytest.raises(SystemExit):
        trained(tmp_path)
    assert torch.load(tmp_path / "train_state.pt", weights_only=True)["step"] == 2


def test_after_training_sigterm_is_what_it_was(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    trained(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_killed_between_checkpoints_and_resumed(tmp_path):
    """What is in memory at a SIGKILL is lost; the last checkpoint gives the same run."""
    whole = trained(tmp_path / "whole")

    def die(loss, step):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", hook=die, runtime={"checkpoint_seconds": 0})
    assert torch.load(tmp_path / "cut/train_state.pt", weights_only=True)["step"] == 7
    assert same(whole, trained(tmp_path / "cut"))


def test_workers_and_logging_change_nothing(tmp_path):
    plain = trained(tmp_path / "a")
    assert same(plain, trained(tmp_path / "b", runtime={"workers": 2, "log_every": 100}))
    with pytest.raises(SystemExit):
        trained(tmp_path / "c", hook=sigterm_at(5), runtime={"workers": 2})
    signals._stop = False
    assert same(plain, trained(tmp_path / "c", runtime={"workers": 0}))


def test_another_fingerprint_starts_over(tmp_path):
    with pytest.raises(SystemExit):
        trained(tmp_path, hook=sigterm_at(5), settings={"lr": 0.5}, fingerprint="other")
    signals._stop = False
    assert same(trained(tmp_path), trained(tmp_path / "whole"))


def foreign_state(path):
    torch.save({"something": "else"}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:-200]),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"garbage" * 100),
        foreign_state,
    ],
)
def test_a_damaged_state_costs_time_only(tmp_path, caplog, damage):
    with pytest.raises(SystemExit):
        trained(tmp_path, hook=sigterm_at(5))
    signals._stop = False
    damage(tmp_path / "train_state.pt")
    with caplog.at_level(logging.INFO):
        assert same(trained(tmp_path), trained(tmp_path / "whole"))
    assert "train_state.pt" in caplog.text and "starts over" in caplog.text


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="no /dev/full on this system to stand for a full disk"
)
def test_a_full_disk_at_a_checkpoint_is_named(tmp_path):
    (tmp_path / f".train_state.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match="train_state.pt.*disk is full"):
        trained(tmp_path, runtime={"checkpoint_seconds": 0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("checkpoint_seconds", [0, 1e9])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, bad, checkpoint_seconds):
    with pytest.raises(SystemExit):
        trained(tmp_path, hook=sigterm_at(3))
    signals._stop = False
    before = (tmp_path / "train_state.pt").read_bytes()
    hook = lambda loss, step: loss * bad if step == 5 else loss  # noqa: E731
    with pytest.raises(
        UserError, match=r"not finite at step 5 \(lr .*image\d, image\d, image\d, image\d"
    ) as caught:
        trained(tmp_path, hook=hook, runtime={"checkpoint_seconds": checkpoint_seconds, "log_every": 100})
    assert "last checkpoint" in str(caught.value)
    if checkpoint_seconds:
        assert (tmp_path / "train_state.pt").read_bytes() == before
    else:
        assert torch.load(tmp_path / "train_state.pt", weights_only=True)["step"] == 5
    assert same(trained(tmp_path), trained(tmp_path / "whole"))


def test_after_step_sees_every_step_once(tmp_path):
    seen = []
    with pytest.raises(SystemExit):
        trained(tmp_path, hook=sigterm_at(4), after_step=seen.append)
    signals._stop = False
    trained(tmp_path, after_step=seen.append)
    assert seen == list(range(12))


def test_a_finished_state_is_not_trained_further(tmp_path):
    first = trained(tmp_path, runtime={"checkpoint_seconds": 0})
    assert same(first, trained(tmp_path))


def test_waiting_for_each_batch_is_noted(tmp_path):
    one = job(tmp_path)
    history = fit(one)
    assert len(one.waited) == len(history) and all(seconds >= 0 for seconds in one.waited)
