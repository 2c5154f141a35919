"""Processes that train one network together: the loss curve of one process with the whole batch, resume, errors.

Everything here is two forked processes on the CPU, joined by gloo.
"""

import contextlib
import multiprocessing
import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
from helpers import Chain, folder_dataset
from safetensors.torch import load_file
from torch import nn
from training_job import job
from wsss import methods
from wsss.engine import backup
from wsss.engine.atomic import read_json
from wsss.engine.entry import guarded
from wsss.errors import UserError
from wsss.methods import prototype_contrast
from wsss.methods.ppc import PPC
from wsss.nets.deeplab import DeepLabV2
from wsss.nets.norm import BatchNorm
from wsss.refine.affinitynet import AffinityNet
from wsss.refine.irn import IrnNet
from wsss.stages import classifier
from wsss.train import device, ranks
from wsss.train.loop import fit
from wsss.wrappers.fsae import FSAE

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork")


def in_processes(world, function, *arguments):
    """`function(*arguments)` in so many processes that train together; (exit status, what number 0 returned)."""
    receiver, sender = FORK.Pipe(duplex=False)

    def first():
        torch.set_num_threads(1)
        ranks.fork(world)
        ranks.connect(CPU)
        result = function(*arguments)
        ranks.leave()
        sender.send(result)

    process = FORK.Process(target=first)
    process.start()
    sender.close()
    result = None
    with contextlib.suppress(EOFError):
        result = receiver.recv()
    process.join(120)
    return process.exitcode, result


def small_net(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), BatchNorm(8), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(8 * 36, 1)
    )


class Wide(nn.Module):
    """Image to float64, in which rounding does not grow with the steps."""

    def forward(self, image):
        return image.double()


def exact_net():
    return nn.Sequential(Wide(), small_net().double())


def trained(folder, net=None, **changes):
    work = job(folder, net or small_net(), **changes)
    history = fit(work)
    return {k: v.numpy() for k, v in work.network.state_dict().items()}, history


def losses(history):
    return [row["total"] for row in history]


# --- the loop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path, clip_norm):
    """Loss curve, weights and running statistics of BatchNorm, after twelve steps with momentum."""
    settings = {"clip_norm": clip_norm}
    state, history = trained(tmp_path / "one", exact_net(), settings=settings)
    status, two = in_processes(2, partial(trained, settings=settings), tmp_path / "two", exact_net())
    assert status == 0
    assert losses(two[1]) == pytest.approx(losses(history), rel=1e-6)
    assert [row["lr"] for row in two[1]] == [row["lr"] for row in history]
    for name, value in state.items():
        np.testing.assert_allclose(two[0][name], value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_half_the_batch_alone_is_another_run(tmp_path):
    """The comparison above would notice processes that did not share anything."""
    history = trained(tmp_path / "one")[1]
    half = trained(tmp_path / "half", settings={"batch_size": 2})[1]
    assert losses(half)[1:] != pytest.approx(losses(history)[1:], rel=1e-2)


def test_dropout_is_drawn_in_each_process(tmp_path):
    """So a network with dropout has another curve, as with another seed; it repeats all the same."""
    one = trained(tmp_path / "one", small_net(0.5))[1]
    first, second = (in_processes(2, trained, tmp_path / name, small_net(0.5))[1] for name in ("a", "b"))
    assert losses(first[1]) == losses(second[1]) != pytest.approx(losses(one), rel=1e-3)
    assert np.mean(losses(first[1])) == pytest.approx(np.mean(losses(one)), rel=0.3)


def cut(folder, at, who):
    """Train until process `who` gets SIGTERM in step `at`."""

    def hook(loss, step):
        if step == at and ranks.rank() == who:
            os.kill(os.getpid(), signal.SIGTERM)

    trained(folder, hook=hook)


@pytest.mark.parametrize("who", [0, 1])
def test_sigterm_to_one_stops_all_and_the_next_goes_on(tmp_path, who):
    whole = in_processes(2, trained, tmp_path / "whole")[1]
    status, result = in_processes(2, cut, tmp_path / "cut", 4, who)
    assert status == 143 and result is None
    assert torch.load(tmp_path / "cut/train_state.pt", weights_only=True)["step"] == 5
    again = in_processes(2, trained, tmp_path / "cut")[1]
    assert again[1] == whole[1] and all((again[0][k] == whole[0][k]).all() for k in whole[0])


def stubborn(folder):
    """Number 1 is killed in step 4."""

    def hook(loss, step):
        if step == 4 and ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    trained(folder, hook=hook, runtime={"checkpoint_seconds": 0})


def test_a_killed_process_ends_the_others(tmp_path):
    status, result = in_processes(2, stubborn, tmp_path)
    assert status == 1 and result is None
    assert torch.load(tmp_path / "train_state.pt", weights_only=True)["step"] == 4


def bad_loss(folder):
    trained(folder, hook=lambda loss, step: loss * float("nan") if ranks.rank() == 1 else loss)


def words_of(world, function, *arguments):
    def caught():
        try:
            function(*arguments)
        except UserError as error:
            return str(error)

    return in_processes(world, caught)[1]


def test_a_loss_of_one_process_that_is_not_finite_names_the_whole_batch(tmp_path):
    words = words_of(2, bad_loss, tmp_path)
    assert "not finite at step 0" in words and words.count("image") == 4


# --- the losses of all nets ------------------------------------------------------------------------------

SIDE = 64


def batch():
    """Four images with unlike shares of ignored pixels and of classes: means of means would differ."""
    rng = torch.Generator().manual_seed(5)
    label = torch.randint(0, 3, (4, SIDE, SIDE), generator=rng, dtype=torch.uint8)
    for number, rows in enumerate((60, 8, 30, 0)):
        label[number, :rows] = 255
    label[1, 30:] = 0
    part = torch.zeros(4, 1, SIDE, SIDE)
    part[..., : SIDE // 2] = 1
    y = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]])
    return {
        "image": torch.randn(4, 3, SIDE, SIDE, generator=rng),
        "label": label,
        "y": y,
        "saliency": torch.rand(4, 1, SIDE, SIDE, generator=rng),
        "pair_mask": part,
        "pair_weight": torch.tensor([0.5, 1.0, 0.3, 0.0]),
        "valid": part.flip(-1),
        "id": list("abcd"),
    }


def method(name, **options):
    options = {"bn": "train", "freeze": "none", **options}
    net = methods.get(name)(3, "resnet_small", options)
    return net, lambda b, step: net.loss(b, net(b, net.loss_want), step)


def lots_of_four(labels):
    """PPC's lots of pixels, each the same however four images are shared out."""
    lots = torch.rand(len(labels) * ranks.world(), generator=torch.Generator().manual_seed(7)).view(4, -1)
    return lots[ranks.rank() :: ranks.world()].flatten()


def with_lots(name, **options):
    """A method that draws pixels."""
    net, loss = method(name, **options)

    def fixed(given, step):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prototype_contrast, "chance_of", lots_of_four)
            return loss(given, step)

    return net, fixed


def plain(net):
    return net, net.loss


def on_cells(net):
    return net, lambda b, step: net.loss({**b, "label": b["label"][:, 4::8, 4::8]}, step)


def wrapped(name, **options):
    """In the ring, in the mask and in its norm there are unlike numbers of cells in each process."""
    net = FSAE(method(name)[0], {"tau_c": 0.45, "tau_r": 0.35, "norm": "mask", "teacher_mode": "eval", **options})
    return net, lambda b, step: net.loss({**b, "strong": b["image"].flip(1), "strong_valid": b["pair_mask"]}, net(b, net.loss_want), step)


NETS = {
    "cam": lambda: method("cam"),
    "amn": lambda: method("amn", dropout=0.0),
    "eps": lambda: method("eps"),
    "seam": lambda: method("seam", dropout=0.0),
    "cpn": lambda: method("cpn", dropout=0.0, skip_hidden_cls=True),
    "fsae": lambda: wrapped("eps"),
    "fsae, train": lambda: wrapped("cam", teacher_mode="train", classwise_tau=True, bg="prob"),
    "sipe": lambda: method("sipe"),
    "ppc": lambda: with_lots("ppc", dropout=0.0, second_size=48),
    "ppc masked": lambda: with_lots("ppc", dropout=0.0, second_size=48, mask_prototypes=True, background_prototype="inverse"),
    "ppc_eps": lambda: with_lots("ppc_eps", second_size=48),
    "irn": lambda: plain(IrnNet("resnet_small", radius=3, displacement=True)),
    "affinitynet": lambda: on_cells(AffinityNet("resnet_small", radius=2, bn="train", freeze="none")),
    "deeplab_v2": lambda: plain(DeepLabV2(3, "resnet_small", {"bn": "train", "msc": True})),
    "deeplab_v2 balanced": lambda: plain(DeepLabV2(3, "resnet_small", {"bn": "train", "balanced": True})),
}


def gradients(name):
    """Mean losses and averaged gradients of one step, each process with every second image."""
    torch.manual_seed(0)
    net, loss = NETS[name]()
    net.train().to(precision(name)[0])
    whole = {k: v.to(precision(name)[0]) if torch.is_tensor(v) and v.is_floating_point() else v for k, v in batch().items()}
    mine = {k: v[ranks.rank() :: ranks.world()] for k, v in whole.items()}
    values = loss(mine, 0)
    values["total"].backward()
    parameters = [p for p in net.parameters() if p.requires_grad]
    ranks.average_gradients(parameters)
    means = {k: float(ranks.mean_over_ranks(v.detach())) for k, v in values.items()}
    return means, [None if p.grad is None else p.grad.numpy() for p in parameters]


def precision(name):
    """Type to compute in, and how far apart losses may be, and gradients; the correlation module, and what SIPE compares, are float32 throughout.

    CPN's trunk sees parts that are blank, where the largest of equal cells is a matter of rounding: each that falls
    otherwise moves a gradient by 0.1 to 0.4 % of the largest. A mean of means would be off by tens of percent. PPC picks
    cells and pixels by rank, which rounding moves in the same way; its contrast alone is exact (below).
    """
    known = {"seam": (torch.float32, 1e-3, 1e-3), "cpn": (torch.float32, 1e-3, 1e-2)}
    known |= {"ppc": known["cpn"], "ppc_eps": known["cpn"], "sipe": known["seam"]}
    return known.get(name.split()[0], (torch.float64, 1e-6, 1e-6))


def dealt(rows):
    """This process's share of a batch, and the whole put together again of all shares."""
    mine = rows[ranks.rank() :: ranks.world()]
    whole = ranks.whole_batch(mine)
    return whole.numpy(), torch.equal(ranks.own_part(whole), mine)


@pytest.mark.parametrize("world", [1, 2])
def test_a_batch_is_put_together_in_its_order(world):
    rows = torch.arange(24).reshape(4, 3, 2).transpose(1, 2)  # not contiguous
    found, is_own = in_processes(world, dealt, rows)[1]
    assert np.array_equal(found, rows) and is_own


def contrasted(masked):
    """Mean terms of PPC's contrast of given maps, and the averaged gradient of each image's projected features."""
    options = {**PPC.defaults, "mask_prototypes": masked}
    rng, y = torch.Generator().manual_seed(2), batch()["y"]
    whole = [(torch.rand(4, 6, 5, 5, generator=rng), torch.rand(4, 4, 5, 5, generator=rng)) for _ in range(2)]
    share = slice(ranks.rank(), None, ranks.world())
    leaves = [projection[share].requires_grad_() for projection, _ in whole]
    views = [prototype_contrast.pixels_of(leaf, maps[share], y[share], options) for leaf, (_, maps) in zip(leaves, whole, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prototype_contrast, "chance_of", lots_of_four)
        terms = prototype_contrast.contrast(*views, options)
    sum(terms.values()).backward()
    gradients = [ranks.whole_batch(leaf.grad).numpy() / ranks.world() for leaf in leaves]
    return {name: float(ranks.mean_over_ranks(term.detach())) for name, term in terms.items()}, gradients


@pytest.mark.parametrize("masked", [False, True])
def test_prototypes_and_pixels_are_those_of_the_whole_batch(masked):
    one, two = contrasted(masked), in_processes(2, contrasted, masked)[1]
    assert two[0] == pytest.approx(one[0], rel=1e-6)
    for alone, together in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("name", NETS)
def test_losses_and_gradients_are_those_of_the_whole_batch(name):
    one, two = gradients(name), in_processes(2, gradients, name)[1]
    _, of_losses, of_gradients = precision(name)
    assert two[0] == pytest.approx(one[0], rel=of_losses)
    scale = max(np.abs(g).max() for g in one[1] if g is not None)
    for alone, together in zip(one[1], two[1], strict=True):
        assert (alone is None) == (together is None)
        if alone is not None:
            np.testing.assert_allclose(together, alone, rtol=0, atol=of_gradients * scale)


# --- the stage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return folder_dataset(tmp_path_factory.mktemp("ranks"))


def run_stage(task):
    """The stage as its rule script runs it; its exit status."""

    def first():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        guarded(classifier.run, task)

    process = FORK.Process(target=first)
    process.start()
    process.join(120)
    return process.exitcode


def test_a_training_given_two_gpus_is_two_processes(results):
    chain = Chain(results, steps=3)
    tasks = {gpus: chain.task("classifier", into=f"gpus{gpus}") for gpus in (1, 2)}
    for gpus, task in tasks.items():
        task.gpus = gpus
        assert run_stage(task) == 0
    files = {gpus: sorted(p.name for p in task.folder.iterdir()) for gpus, task in tasks.items()}
    assert files[1] == files[2], "only number 0 writes"
    curves = [np.loadtxt(t.folder / "history.csv", delimiter=",", skiprows=1) for t in tasks.values()]
    np.testing.assert_allclose(curves[1][0], curves[0][0], rtol=1e-5)  # then rounding grows, fast in float32
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)
    one, two = (load_file(task.folder / "model.safetensors") for task in tasks.values())
    assert one.keys() == two.keys() and any(not torch.equal(one[k], two[k]) for k in one)
    assert '"processes": 2' in (tasks[2].folder / "run.json").read_text()
    marks = [read_json(task.folder / backup.NOTE)["fingerprint"] for task in tasks.values()]
    assert marks[0] != marks[1], "one must not go on from the other's checkpoint"


def test_one_that_fails_before_they_meet_leaves_none_waiting(results, monkeypatch):
    """As where the second GPU is another job's."""

    def pick(wanted, threads, precision, rank, world):
        if rank == 1:
            raise UserError("no GPU is free for me")
        return torch.device("cpu")

    monkeypatch.setattr("wsss.train.start.pick_device", pick)
    task = Chain(results, steps=1).task("classifier", into="lonely")
    task.gpus = 2
    assert run_stage(task) == -signal.SIGTERM  # within two minutes; alone it would wait longer


def test_a_batch_that_cannot_be_shared_is_refused(results):
    task = Chain(results, steps=1).task("classifier", into="odd")
    task.gpus = 3
    with pytest.raises(UserError, match="batch of 4 cannot be shared out among 3 GPUs"):
        classifier.run(task)


def test_each_process_has_a_gpu_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "_leases", [])
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert [device._gpu_of(rank, 2) for rank in range(2)] == [0, 1]
    monkeypatch.delenv("SLURM_JOB_ID")
    assert [device._gpu_of(rank, 2) for rank in range(2)] == [0, 1]
    for world in (2, 3):
        with pytest.raises(UserError, match=f"to use {world} GPUs, but of the 2"):
            device._gpu_of(0, world)
    for handle in device._leases:
        handle.close()
