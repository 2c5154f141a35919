"""MCTformer V1 and V2 against their released code: network, losses, gradients, steps, schedule, attention and maps."""

import pytest
import torch
from golden import golden
from golden_case import (
    Case,
    check_gradients,
    check_steps,
    full_size_cam,
    images,
    multi_hot,
    photo,
    scale_maps,
    training,
)
from sections import settings_of
from wsss.methods.base import resize
from wsss.methods.mctformer import class_attention, spread
from wsss.train.optim import learning_rate

VERSIONS = ("mctformer_v1", "mctformer_v2")
KINDS = {"attention": "attention", "transcam": "attention", "patchcam": "patch", "fused": "fused"}  # their name: ours
EVERYTHING = frozenset({"logits", "maps", "features", "attention"})
SETTINGS = {"optimiser": "adamw", "lr": 6.25e-5, "weight_decay": 0.05, "schedule": "constant", "steps": 3}
PRESENT = (2, 7)
SIZES = {"224x224": (224, 224, 1, 2), "224x320": (224, 320, 5), "230x330": (230, 330, 5)}


@pytest.fixture(scope="module", params=VERSIONS)
def case(request):
    return Case(request.param, request.param, arrays=1e-4, losses=1e-4, gradients=1e-3, **{"later losses": 1e-3, "change 3": 1e-2})


@pytest.fixture(scope="module")
def batch():
    return {"image": images(224, 224, 1, 2), "y": multi_hot([14], [2, 7, 14])}


def raw(network, out, layers, kind):
    """Maps as the options say, without the patches' affinity."""
    before = dict(network.options)
    network.options |= {"map_layers": layers, "map": kind}
    try:
        return network.raw_maps(out) if "map" in before else class_attention(out.attention, 20, layers, out.maps.shape[-2:])
    finally:
        network.options.clear()
        network.options |= before


def named_maps(case, prefix, out):
    """Every map that the file has under `prefix`."""
    found = {}
    for name in case.arrays:
        head, _, tail = name.partition("map_n")
        if head != f"{prefix}/" or not tail:
            continue
        layers, _, kind = tail.partition("_")
        own = "attention" if case.name == "mctformer_v1" else "fused"
        maps = raw(case.network, out, int(layers), KINDS[kind or own])
        found[name] = maps.reshape(case.scalars["taps"][name]["shape"])  # V1's are flat in places
    return found


def test_parameters(case):
    """All of the released ones but those that nothing passes: the last norm, and V1's linear head."""
    unused = 768 + (7_700 if case.name == "mctformer_v1" else 0)
    assert sum(p.numel() for p in case.network.parameters()) + unused == case.facts["parameter_count"]["all"]
    groups = case.network.param_groups()
    plain, decayed = (len(group["params"]) for group in groups)
    head = case.name == "mctformer_v1"  # its weight and its bias
    assert [plain + 2 + head, decayed + head] == case.facts["parameter_groups"]["tensors"]


@torch.no_grad()
def test_blocks(case, batch):
    """Output and attention of single blocks; attention is stored by head."""
    network, seen = case.network.eval(), {}
    hooks = [
        network.backbone.blocks[n].attn.register_forward_hook(lambda m, args, _, n=n: seen.update({n: by_head(m, args[0])}))
        for n in (0, 5, 11)
    ] + [
        network.backbone.blocks[n].register_forward_hook(lambda m, args, out, n=n: seen.update({f"block{n}/tokens": out}))
        for n in (0, 5, 11)
    ]
    network(batch, frozenset({"logits"}))
    for hook in hooks:
        hook.remove()
    tokens = {name: value for name, value in seen.items() if isinstance(name, str)}
    case.maps("forward", tokens | {f"block{n}/attention": seen[n] for n in (0, 5, 11)})


def by_head(attention, x):
    """(B, heads, T, T) of timm's layer, as its own unfused way has it."""
    q, k, _ = attention.qkv(x).reshape(*x.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return (q * attention.scale @ k.transpose(-2, -1)).softmax(-1)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_forward(case, size):
    height, width, *seeds = SIZES[size]
    batch, network = {"image": images(height, width, *seeds)}, case.network.eval()
    out = network(batch, EVERYTHING)
    assert torch.allclose(out.attention.sum(-1), torch.ones(()), atol=1e-5)
    prefix = f"eval{size}"
    logits = {f"{prefix}/cls_logits": out.logits}
    if case.name == "mctformer_v2":
        logits[f"{prefix}/patch_logits"] = out.features["patch_logits"]
    case.maps("logits", logits)
    assert torch.allclose(network(batch, frozenset({"logits"})).logits, out.logits, atol=1e-4)  # timm's fused attention
    case.maps("maps", named_maps(case, prefix, out))
    patches = out.attention[:, :, 20:, 20:]
    case.maps("affinity", {f"{prefix}/patch_affinity_12_blocks": patches, f"{prefix}/patch_affinity_sum": patches.sum(0)})


@torch.no_grad()
def test_functions_of_formula_tokens(case):
    """From tokens and attention by formula: logits, maps and their spreading, on a grid of 3 x 4."""
    network, size = case.network.eval(), (3, 4)
    tokens = 5 * made("mct.x_cls", 2, 20, 384)
    patches = (20 * made("mct.x_patch", 2, 12, 384)).transpose(1, 2).unflatten(2, size)
    attention = torch.stack([(60 * made(f"mct.attn{n}", 2, 6, 32, 32)).softmax(-1).mean(1) for n in range(12)])
    forward = network.backbone.forward
    network.backbone.forward = lambda image, **wanted: (tokens, attention, patches)
    try:
        out = network({"image": None}, EVERYTHING)
    finally:
        network.backbone.forward = forward
    logits = {"pure/cls_logits": out.logits}
    if case.name == "mctformer_v2":
        logits["pure/patch_logits"] = out.features["patch_logits"]
    case.maps("functions", logits | named_maps(case, "pure", out), 1e-5)
    case.maps("functions", {"pure/patch_affinity_sum": attention[:, :, 20:, 20:].sum(0)}, 1e-5)
    spreads = {f"pure/refined_n{n}": spread(class_attention(attention, 20, n, size), attention) for n in (3, 12)}
    spreads = {name: maps.reshape(case.scalars["taps"][name]["shape"]) for name, maps in spreads.items()}
    case.maps("functions", spreads, 1e-5)


def made(name, *shape):
    return torch.from_numpy(golden.tensor(name, shape))


def test_training(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    done = training(case, loss, SETTINGS)
    ours = {"loss": "total", "cls_loss": "cls", "pat_loss": "patch"} if "patch" in done.losses[0] else {"loss": "total"}
    theirs = {name: case.scalars["losses"][name] for name in ours}
    case.agree("losses", {name: done.losses[0][mine] for name, mine in ours.items()}, theirs, "losses", "each")
    check_gradients(case, done)
    check_steps(case, done, "released")
    entries = {name: case.facts["parameters"][name] for name in done.gradients}
    rates = {name: (entry["lr"], entry["weight_decay"]) for name, entry in entries.items()}
    assert done.rates == [rates] * 3


def test_schedule(case):
    """60 epochs of 165 batches of 64; the peak of 6.25e-5 is never reached."""
    settings = {
        "lr": 6.25e-5, "schedule": "cosine", "min_lr": 1e-5, "warmup_epochs": 5, "warmup_lr": 1e-6, "epochs": 60, "rate_per": "epoch",
    }  # fmt: skip
    theirs = case.facts["pure"]["lr_by_training_epoch"]
    for place in (0, 164):
        rates = {epoch: learning_rate(int(epoch) * 165 + place, 60 * 165, settings_of(settings)) for epoch in theirs}
        case.agree("learning rates", rates, theirs, 1e-6, "each")
    every = [learning_rate(step, 60 * 165, settings_of(settings)) for step in range(60 * 165)]
    assert max(every) == every[6 * 165] == pytest.approx(6.1606e-5, rel=1e-5)
    assert every[-1] == pytest.approx(1.0144e-5, rel=1e-4)


@pytest.mark.parametrize("refined", [True, False])
def test_cam(case, refined):
    network, y = case.network, multi_hot(PRESENT)[0]
    network.options["patch_affinity"] = refined
    try:
        maps = scale_maps(case, photo(150, 210, 11), y, 1.0)
        cam = full_size_cam(case, photo(150, 210, 11), y, (1.0,))
    finally:
        network.options["patch_affinity"] = True
    assert maps.shape == (20, 9, 13)
    name = "infer/refined" if refined else "infer/not_refined"
    summed = resize(maps[None, list(PRESENT)], (150, 210))[0]
    case.agree("maps at image size", summed[:, ::4, ::4], f"{name}_sum", "inference")
    case.agree("CAM at image size", cam[:, ::4, ::4], f"{name}_norm", "inference", "absolute")
