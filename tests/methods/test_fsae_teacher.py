"""FSAE's teacher: the moving average, its mode, and where its labels come from."""

import pytest
import torch
from small_fsae import BASES, around, gradients, losses_of
from small_methods import SCRATCH, build
from wsss.errors import UserError
from wsss.wrappers.fsae import FSAE
from wsss.wrappers.pixel_adapters import seed_logits


def test_the_teacher_is_a_moving_average():
    fsae, batch = around("cam", ema=0.999)
    start = {key: value.clone() for key, value in fsae.base.named_parameters()}
    with torch.no_grad():
        for p in fsae.base.parameters():
            p.add_(1.0)
    fsae.after_step(0)
    for key, value in fsae.teacher.named_parameters():
        torch.testing.assert_close(value, 0.999 * start[key] + 0.001 * (start[key] + 1), msg=key)


def test_frozen_parts_are_not_averaged_and_statistics_are():
    """In evaluation mode the teacher's weights need statistics of their own age."""
    fsae, batch = around("cam", net={"freeze": "stage1", "bn": "train"}, ema=0.5)
    start = {name: buffer.clone() for name, buffer in fsae.teacher.named_buffers()}
    losses_of(fsae, batch)  # moves the student's running statistics
    before = fsae.teacher.backbone.conv1.weight.clone()
    fsae.after_step(0)
    assert torch.equal(before, fsae.teacher.backbone.conv1.weight)
    moved = 0
    for name, theirs in fsae.teacher.named_buffers():
        ours, first = fsae.base.get_buffer(name), start[name]
        wanted = (first + ours) / 2 if theirs.is_floating_point() else ours
        torch.testing.assert_close(theirs, wanted, msg=name)
        moved += bool(theirs.is_floating_point() and not torch.equal(first, ours))
    assert moved > 4


def test_without_an_average_the_student_teaches_itself():
    fsae, batch = around("cam", ema="none")
    assert fsae.teacher is None and not [key for key in fsae.state_dict() if key.startswith("teacher")]
    fsae.after_step(0)
    assert losses_of(fsae, batch)["consistency"].item() > 0 and fsae.base.training


@pytest.mark.parametrize("ema", [0.999, "none"])
def test_mode_of_the_teacher(ema):
    """Dropout of the teacher, as published, or none."""
    found = {}
    for mode in ("train", "eval"):
        fsae, batch = around("seam", net={"dropout": 0.5, "bn": "frozen"}, teacher_mode=mode, ema=ema)
        torch.manual_seed(0)
        with torch.no_grad():
            found[mode] = [fsae.teacher_output(batch).maps for _ in range(2)]
        assert fsae.base.training
    assert torch.equal(*found["eval"]) and not torch.equal(*found["train"])


def test_the_state_of_another_base_is_refused():
    state = FSAE(build("cam")).state_dict()
    with pytest.raises(UserError, match="wrap: the training state belongs to another base.*delete train_state.pt"):
        FSAE(build("seam")).load_state_dict(state)
    FSAE(build("cam")).load_state_dict(state)


@pytest.mark.parametrize("name", BASES)
def test_labels_from_the_bases_own_seed_maps(name):
    """Those that its CAM files would hold, of one scale; absent classes are no label."""
    fsae, batch = around(name, teacher_map="seed", teacher_mode="eval")
    with torch.no_grad():
        label = fsae.pseudo_labels(batch).label
        logits = seed_logits(fsae.teacher.eval(), batch)
    assert logits.shape[1] == 5 and label.shape[1:] == logits.shape[-2:]
    allowed = torch.cat([torch.ones(2, 1), batch["y"]], 1).bool()
    assert all(allowed[b, one].all() for b, one in enumerate(label.flatten(1)))
    losses = losses_of(fsae, batch)
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(g).all() for g in gradients(fsae, losses).values())


def test_scores_of_seed_maps_and_their_background(monkeypatch):
    """CAM: maps over their maximum beside 1 - the largest present one; SIPE: its own background map."""
    cam, batch = around("cam")
    maps = cam.base.seed_maps(torch.cat([batch["image"], batch["image"].flip(-1)]), batch["y"])
    scores = (maps / (maps.amax((-2, -1), keepdim=True) + 1e-5)).detach()
    found = seed_logits(cam.base, batch).detach() * 0.1
    torch.testing.assert_close(found[:, 1:], scores)
    torch.testing.assert_close(found[0, 0], 1 - scores[0, 0])  # the first image has the first class alone
    sipe, batch = around("sipe")
    own = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(sipe.base, "seed_maps", lambda views, y: own)
    torch.testing.assert_close(seed_logits(sipe.base, batch) * 0.1, own / (own.amax((-2, -1), keepdim=True) + 1e-5))


def test_seed_maps_on_another_grid_are_refused(monkeypatch):
    base = build("cam")
    seed_maps = base.seed_maps
    monkeypatch.setattr(base, "seed_maps", lambda views, y: seed_maps(views, y)[..., ::2, ::2])
    with pytest.raises(UserError, match="teacher_map seed: the seed maps of net CAM.*set teacher_map: cells"):
        FSAE(base, {"teacher_map": "seed"})


def test_looking_at_the_seed_maps_leaves_running_statistics_as_they_are():
    base = build("cam", options=SCRATCH).train()
    before = {name: buffer.clone() for name, buffer in base.named_buffers()}
    FSAE(base, {"teacher_map": "seed"})
    assert base.training and all(torch.equal(buffer, before[name]) for name, buffer in base.named_buffers())
