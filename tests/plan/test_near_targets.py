"""A mistyped target: the file that was meant."""

import pytest
from wsss.plan.near_targets import file_of, near_target, seed_fault, usual_files
from wsss.recipes.schema import did_you_mean

NAMES = {"dataset": ["demo_small", "demo", "voc12"], "method": ["cam_seed", "amn", "cam"], "name": []}
OUTPUTS = [
    "results/{dataset}/manifest.csv",
    "results/{dataset}/{method,[a-z]+}/cam/index.json",
    "results/{dataset}/{method}/predictions/index.json",
    "results/table.md",
    "results/{dataset}/{method}/miou.txt",
    "results/{dataset}/{method}/mask_scores/miou.txt",
    "results/{dataset}/{method}/predict/{name}/index.json",
    "results/{dataset}/report/index.html",
    "results/{dataset}/shards/{shard}of{shards}.json",
    "resources/weights/{backbone}.safetensors",
]


@pytest.mark.parametrize(
    "written, meant",
    [
        ("results/demo/amn/miuo.txt", "results/demo/amn/miou.txt"),
        ("results/dmo/amn/miuo.txt", "results/demo/amn/miou.txt"),
        ("results/demo/anm.seed2/miou.txt", "results/demo/amn.seed2/miou.txt"),
        ("results/demo/amn.seed0/miou.txt", "results/demo/amn/miou.txt"),
        ("results/demo/amn.seed01/miou.txt", "results/demo/amn.seed1/miou.txt"),
        ("results/demo/amn.seedx/miou.txt", "results/demo/amn/miou.txt"),
        ("results/demo.seed2/amn/miou.txt", "results/demo/amn/miou.txt"),
        ("result/demo/amn/miou.txt", "results/demo/amn/miou.txt"),
        ("results/demo/amn/cma/index.json", "results/demo/amn/cam/index.json"),
        ("demo/amn/miou.txt", "results/demo/amn/miou.txt"),
        ("results/voc12/miou.txt", "results/voc12/cam_seed/miou.txt"),
        ("results/demo/reprot/index.html", "results/demo/report/index.html"),
        ("results/demo", "results/demo/report/index.html"),
        ("results/demo/amn/", "results/demo/amn/miou.txt"),
        ("reslts", "results/demo_small/report/index.html"),
        ("results/demo/manifst.csv", "results/demo/manifest.csv"),
        ("amn", "results/demo_small/amn/miou.txt"),
        ("../elsewhere/results/demo/amn/miou.txt", None),
        ("headline.txt", None),
        ("results/demo/amn/predict/trip/index.json", None),
    ],
)
def test_the_file_that_was_meant(written, meant):
    assert near_target(written, OUTPUTS, NAMES) == meant


@pytest.mark.parametrize("seed, is_right", [("1", True), ("20", True), ("0", False), ("01", False), ("", False), ("x", False), ("\u0661", False)])
def test_a_seed_that_no_target_has(seed, is_right):
    assert seed_fault(f"results/demo/amn.seed{seed}/miou.txt") == ("" if is_right else "; seeds are 1, 2, ...; plain amn is seed 0")
    assert seed_fault("results/demo/amn/miou.txt") == ""


def test_a_further_network_has_no_masks():
    said = "; amn.seed1.net2 has a classifier and no more: its maps are averaged into amn.seed1"
    assert seed_fault("results/demo/amn.seed1.net2/cam/index.json") == said


def test_an_example_of_a_rules_files():
    assert file_of("results/{dataset}/{method}/miou.txt", NAMES) == "results/demo_small/cam_seed/miou.txt"
    assert file_of("results/{dataset}/{method}/predict/{name}/index.json", NAMES) is None
    assert file_of("other/{sample}.bam", NAMES) is None


def test_the_usual_files_are_named_by_their_shape():
    assert usual_files(OUTPUTS) == ["results/DATASET/report/index.html", "results/DATASET/METHOD/miou.txt", "results/DATASET/METHOD/predictions/index.json"]
    assert usual_files(["other/{sample}.bam"]) == []


def test_letters_in_another_order_are_nearer_than_a_letter_less():
    assert did_you_mean(["anm"], ["cam", "amn", "ppc"]) == "; did you mean amn?"
    assert did_you_mean(["sedes", "x"], ["seeds", "methods"]) == "; did you mean seeds?"
