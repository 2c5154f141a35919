"""MCTformer's transformer, its options and what it refuses; numbers of the released code: test_golden_mctformer.py."""

import json
import os

import numpy as np
import pytest
import torch
import yaml
from helpers import REPOSITORY, copy_project, edit
from sections import settings_of
from wsss import methods
from wsss.errors import UserError
from wsss.imports.weights import fill
from wsss.methods.mctformer import class_attention, spread
from wsss.nets.vit import ClassTokenViT
from wsss.recipes.config import Config
from wsss.train.loop import total_steps

GOLDEN = REPOSITORY / "tests/golden"
MAIN = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
SMALL = {"patch": 8, "dim": 24, "depth": 4, "heads": 2, "grid": 4}
EVERYTHING = frozenset({"logits", "maps", "features", "attention"})


def build(name="mctformer_v2", classes=3, **options):
    torch.manual_seed(0)
    return methods.get(name)(classes, "vit", {**SMALL, **options}).eval()


@pytest.mark.parametrize("size, grid", [((8, 8), (1, 1)), ((1, 1), (1, 1)), ((5, 40), (1, 5)), ((39, 47), (4, 5)), ((32, 32), (4, 4))])
@torch.no_grad()
def test_sizes(size, grid):
    """One patch, less than one, sides that are no multiples, and the grid of the positions."""
    out = build()({"image": torch.randn(2, 3, *size)}, EVERYTHING)
    assert out.maps.shape == (2, 3, *grid) and out.attention.shape == (4, 2, 3 + grid[0] * grid[1], 3 + grid[0] * grid[1])
    assert torch.allclose(out.attention.sum(-1), torch.ones(()), atol=1e-5) and torch.isfinite(out.logits).all()


@torch.no_grad()
def test_positions_of_other_grids():
    released, exact = (build(position_offset=offset).backbone for offset in (0.1, 0.0))
    exact.load_state_dict(released.state_dict())
    assert torch.equal(released.positions(4, 4), released.pos_embed)
    for size in ((1, 1), (3, 7), (9, 4), (31, 23)):
        ours, theirs = exact.positions(*size), released.positions(*size)
        assert ours.shape == theirs.shape == (1, 3 + size[0] * size[1], 24)
        assert torch.equal(ours[:, :3], released.pos_embed[:, :3]) and not torch.equal(ours, theirs)


@torch.no_grad()
def test_attention_in_the_open_equals_the_fused():
    net, image = build(drop_path=0.3), torch.randn(2, 3, 32, 40)
    with_maps, without = (net.backbone(image, attention=wanted) for wanted in (True, False))
    assert without[1] is None
    for one, other in ((0, 0), (2, 2)):
        torch.testing.assert_close(with_maps[one], without[other])


@torch.no_grad()
def test_spread_is_a_product_a_patch():
    torch.manual_seed(1)
    attention, maps = torch.rand(4, 2, 9, 9).softmax(-1), torch.rand(2, 3, 2, 3)
    affinity = attention.sum(0)[:, 3:, 3:]
    slow = torch.zeros(2, 3, 6)
    for b, c, i in np.ndindex(2, 3, 6):
        slow[b, c, i] = sum(affinity[b, i, j] * maps[b, c].flatten()[j] for j in range(6))
    torch.testing.assert_close(spread(maps, attention), slow.unflatten(2, (2, 3)))
    of_tokens = class_attention(attention, 3, 2, (2, 3))
    torch.testing.assert_close(of_tokens[1, 2, 1, 0], attention[2:, 1, 2, 3 + 3].sum())


@pytest.mark.parametrize("name", ["mctformer_v1", "mctformer_v2"])
def test_weight_decay(name):
    """None for vectors, class tokens and positions."""
    net = build(name)
    names = {id(p): key for key, p in net.named_parameters()}
    plain, decayed = ({names[id(p)] for p in group["params"]} for group in net.param_groups())
    assert {"backbone.cls_token", "backbone.pos_embed", "backbone.blocks.0.norm1.weight", "backbone.patch_embed.proj.bias"} <= plain
    assert {"backbone.patch_embed.proj.weight", "backbone.blocks.3.mlp.fc2.weight"} <= decayed
    assert [group["weight_decay"] for group in net.param_groups()] == [0.0, None]
    assert plain | decayed == set(names.values())


@pytest.mark.parametrize("classes", [1, 20, 80])
def test_every_class_starts_from_the_class_token(classes):
    source, trunk = ClassTokenViT(1, **SMALL), ClassTokenViT(classes, **SMALL)
    surplus = {"norm.weight": torch.ones(24), "norm.bias": torch.ones(24), "head.weight": torch.ones(9, 24), "head.bias": torch.ones(9)}
    trunk.load_deit({**source.state_dict(), **surplus})
    assert torch.equal(trunk.cls_token, source.cls_token.expand(-1, classes, -1))
    assert torch.equal(trunk.pos_embed[:, :classes], source.pos_embed[:, :1].expand(-1, classes, -1))
    assert torch.equal(trunk.pos_embed[:, classes:], source.pos_embed[:, 1:])


def test_weights_of_another_transformer():
    other = ClassTokenViT(1, **{**SMALL, "dim": 32}).state_dict()
    with pytest.raises(UserError, match="not for this network: .* of another shape .*take weights of its backbone"):
        ClassTokenViT(3, **SMALL).load_deit(other)


@pytest.mark.parametrize("classes, v1, v2", [(20, 21_687_956, 21_749_396), (80, 21_757_136, 22_002_896)])
def test_parameters(classes, v1, v2):
    """As released, less what nothing passes: the last norm (768), V1's linear head (385 a class)."""
    nets = [methods.get(name)(classes, "deit_small") for name in ("mctformer_v1", "mctformer_v2")]
    counts = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert counts == [v1 - 768 - 385 * classes, v2 - 768]


@pytest.mark.parametrize("name", ["mctformer_v1", "mctformer_v2"])
def test_released_weights_are_imported_by_name(name):
    layout = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))["state_dict"]
    network = methods.get(name)(20, "deit_small")
    state = {key: torch.rand(shape) for key, shape in layout}
    assert fill(network, name, state, GOLDEN / "checkpoint.pth") == f"{name}'s released layout"
    assert torch.equal(network.backbone.cls_token, state["cls_token"])
    if name == "mctformer_v2":
        assert torch.equal(network.classifier.weight, state["head.weight"])
    state["blocks.0.mlp.fc3.weight"] = torch.ones(1)
    with pytest.raises(UserError, match="backbone.blocks.0.mlp.fc3.weight: the network has no such tensor"):
        fill(network, name, state, GOLDEN / "checkpoint.pth")


def test_a_trunk_of_convolutions_is_refused():
    with pytest.raises(UserError, match="has a token for each class; set backbone: deit_small or vit"):
        methods.get("mctformer_v2")(3, "resnet18")
    with pytest.raises(UserError, match=r"dim \(25\) must be a multiple of heads \(2\)"):
        build(dim=25)


# --- recipes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, monkeypatch):
    """(dataset, what is done to mctformer.yaml) -> the recipe."""
    monkeypatch.setenv("WSSS_TEST_DATA", os.environ.get("WSSS_TEST_DATA", "/data"))
    folder = copy_project(tmp_path / "project") / "config"

    def recipe(dataset="voc12", change=None, name="mctformer"):
        if change is not None:
            edit(folder / "methods/mctformer.yaml", change)
        return Config(folder, MAIN).recipe(name, dataset)

    return recipe


def test_published_values_are_the_defaults(config):
    found = config()
    assert (found["net"], found["backbone"], found["weights"], found["refine"]) == ("mctformer_v2", "deit_small", "imagenet", "affinitynet")
    assert total_steps(10_582, settings_of(found["classifier"])) == 60 * 165
    assert found["net_options"] == methods.get("mctformer_v2").defaults
    assert config(name="mctformer_v1")["net_options"] == methods.get("mctformer_v1").defaults
    assert found["pseudo_masks"]["bg"] == {"kind": "const", "value": 0.39} and found["cam"]["scales"] == [1.0]


@pytest.mark.parametrize("dataset", ["demo", "demo_tiny", "voc_mini", "coco14"])
@pytest.mark.parametrize("name", ["mctformer", "mctformer_v1"])
def test_presets_resolve(config, dataset, name):
    found = config(dataset, name=name)
    scratch = dataset.startswith("demo")
    assert (found["backbone"], found["weights"]) == (("vit", "none") if scratch else ("deit_small", "imagenet"))
    assert found["affinity"]["trunk"] == ("none" if scratch else "imagenet")
    if scratch:
        assert found["net_options"]["grid"] == found["classifier"]["augmentation"]["crop"] // found["net_options"]["patch"]


WRONG = {
    "backbone resnet50": (lambda r: r.update(backbone="resnet50"), "net mctformer_v2 cannot be built on backbone resnet50; set backbone: deit_small or vit"),
    "size of another": (lambda r: r["net_options"].update(depth=6), "net_options: backbone deit_small has depth 12; leave that out, or set backbone: vit"),
    "more layers than there are": (lambda r: r["net_options"].update(map_layers=13), r"map_layers \(13\) is more than depth \(12\)"),
    "more layers than there are, by default": (
        lambda r: (r.update(backbone="vit"), r["net_options"].pop("map_layers"), r["net_options"].update(depth=2)), r"map_layers \(3\) is more than depth \(2\)",
    ),
    "vit with ImageNet's": (lambda r: r.update(segmentation={"backbone": "vit"}), "segmentation: backbone vit is for classifiers of class tokens"),
    "trunk classifier": (lambda r: r.update(affinity={"trunk": "classifier"}), "trunk classifier is a transformer's .* set trunk: imagenet or none"),
    "trunk none, frozen": (lambda r: r.update(affinity={"trunk": "none"}), "trunk none is a random start, of which all must learn"),
    "unknown option": (lambda r: r["net_options"].update(freeze="stem"), "unknown key freeze in net_options"),
    "warm-up without a start": (lambda r: r["classifier"].pop("warmup_lr"), "a warm-up needs warmup_lr"),
    "warm-up too long": (lambda r: r["classifier"].update(warmup_epochs=60), r"warmup_epochs \(60\) must be below epochs \(60\)"),
    "warm-up of all steps": (lambda r: r["classifier"].update(steps=9, warmup_steps=9), r"warmup_steps \(9\) must be below steps \(9\)"),
    "end above the start": (lambda r: r["classifier"].update(min_lr=1e-3), r"min_lr \(0.001\) is above lr \(6.25e-05\)"),
    "epochs unknown": (lambda r: (r["classifier"].pop("epochs"), r["classifier"].update(steps=9)), "count in epochs; give epochs"),
    "RandAugment in a wrapper": (lambda r: r.update(wrap="fsae"), "augmentation.randaugment moves or hides pixels of the image alone"),
    "RandAugment over labels": (lambda r: r["classifier"].update(saliency=True), "augmentation.randaugment moves or hides pixels of the image alone"),
    "erasing in segmentation": (lambda r: r["segmentation"]["augmentation"].update(erasing=0.5), "segmentation: augmentation.erasing moves or hides"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_go_together_is_refused(config, case):
    change, words = WRONG[case]
    with pytest.raises(UserError, match=words):
        config(change=change)


def test_a_net_of_convolutions_on_a_transformer_is_refused(config, tmp_path):
    edit(tmp_path / "project/config/methods/cam.yaml", lambda r: r.update(backbone="deit_small"))
    with pytest.raises(UserError, match="net cam cannot be built on backbone deit_small; set backbone: a resnet"):
        config(name="cam")
