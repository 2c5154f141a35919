"""Stages given CAMs, labels or settings that say nothing, are broken or do not fit."""

import json
import re

import numpy as np
import pytest
from helpers import Chain
from small_chain import EVALUATED, INDEX, MODEL, chain_to_cam, consumers, finish, first_cam, records_of
from wsss.errors import UserError
from wsss.io.cams import read_cam, write_cam
from wsss.io.masks import read_mask, write_mask


def test_all_zero_cams_go_through_seeds_walk_and_sweep(tmp_path):
    chain = chain_to_cam(tmp_path / "own", masks=True)
    for record in records_of(chain):
        path = chain.results / "cam" / f"{record.id}.npz"
        write_cam(path, record.labels, [np.zeros_like(one) for one in read_cam(path).maps])
    finish(chain)
    for record in records_of(chain):
        for stage in ("seeds", "ir_labels", "pseudo_masks"):
            assert not read_mask(chain.results / stage / f"{record.id}.png").any(), stage
    scores = json.loads((chain.run("evaluation", EVALUATED) / "scores.json").read_text())
    text = json.dumps(scores)
    assert "NaN" not in text and "Infinity" not in text
    assert {"seed", "refined_seed", "pseudo_mask"} <= set(scores["stages"])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stage", consumers())
def test_a_corrupted_cam_is_named(copied, stage, threads):
    path = first_cam(copied)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError) as caught:
        copied.run(stage, consumers()[stage], into="again", threads=threads)
    assert re.search(f"{re.escape(str(path))}.*run: snakemake --force .*/cam/index.json$", str(caught.value))
    assert not (copied.results / "again" / INDEX).exists()


@pytest.mark.parametrize("stage", consumers())
def test_a_lost_cam_is_named_with_the_command(copied, stage):
    path = first_cam(copied)
    path.unlink()
    with pytest.raises(
        UserError, match="1 of 6 ids have no file here.*run: snakemake --force .*cam/index.json"
    ) as caught:
        copied.run(stage, consumers()[stage], into="again")
    assert path.stem in str(caught.value)


def test_a_label_of_another_size_is_named(copied):
    path = copied.results / "ir_labels" / f"{first_cam(copied).stem}.png"
    write_mask(path, np.zeros((5, 5), np.uint8))
    inputs = {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"}
    with pytest.raises(UserError, match=r"size \(5, 5\) differs") as caught:
        copied.run("affinity", inputs, into="again")
    assert path.name in str(caught.value)


def test_a_model_of_another_recipe_is_refused(copied):
    with pytest.raises(UserError, match="holds another network"):
        copied.run("cam", {"model": f"segmentation/{MODEL}"}, into="again")


def test_an_unknown_net_option_is_named(copied):
    with pytest.raises(UserError, match="CAM has no option frieze; it knows .*freeze"):
        copied.run("classifier", into="again", net_options={"frieze": "none"})


def test_full_needs_every_mask(copied):
    with pytest.raises(
        UserError, match="full supervision needs a mask for every training image; 6 have none"
    ):
        copied.run("segmentation", into="again")


def test_a_net_without_the_labels_it_needs_names_the_key(copied):
    amn = Chain(copied.results, "amn")
    with pytest.raises(UserError, match="net amn learns from .*set `classifier: {labels_from: RECIPE}`"):
        amn.run("classifier", into="amn/classifier")
    amn.run("classifier", {"ir_labels": f"ir_labels/{INDEX}"}, into="amn/classifier")
    with pytest.raises(UserError, match="net amn reads ir_labels .*set `cam: {aux_from: RECIPE}`"):
        amn.run("cam", {"model": f"amn/classifier/{MODEL}"}, into="amn/cam")
