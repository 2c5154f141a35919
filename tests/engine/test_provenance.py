"""What a dataset's builder wants known of its scores reaches every stage of them."""

import json

from helpers import Chain, folder_dataset
from wsss.engine.atomic import read_json, write_json


def test_builders_provenance_is_in_every_stage_and_in_miou_txt(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", ((64, 64),) * 4, masks=True))
    facts = read_json(chain.results / "dataset.json")
    facts["builder"]["provenance"] = {"image_list": "82081 of COCO 2014", "mask_rule": "small on top"}
    write_json(chain.results / "dataset.json", facts)
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"})
    out = chain.run("evaluation", {"cam": "cam/index.json", "classifier": "classifier/model.safetensors"})
    seed = json.loads((out / "scores.json").read_text())["stages"]["seed"]
    for block in (seed, seed["fixed"], seed["found"]):
        assert block["provenance"]["image_list"] == "82081 of COCO 2014"
    assert "image list 82081 of COCO 2014; mask rule small on top" in (out / "miou.txt").read_text()
