"""The losses of all nets in two processes: values and gradients are those of the whole batch."""

import numpy as np
import pytest
import torch
from two_processes import in_processes
from wsss import methods, ranks
from wsss.methods import prototype_contrast
from wsss.methods.ppc import PPC
from wsss.nets.deeplab import DeepLabV2
from wsss.refine.affinity_net import AffinityNet
from wsss.refine.boundary_net import IrnNet
from wsss.wrappers.fsae import FSAE

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
