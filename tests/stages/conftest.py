import json
import shutil

import pytest
from helpers import Chain
from small_chain import INDEX, MODEL, chain_to_cam, finish


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The whole chain of a folder dataset without masks, two of its images without a label."""
    chain = chain_to_cam(tmp_path_factory.mktemp("made") / "own", unlabelled=(1, 3))
    finish(chain)
    chain.run("segmentation", {"pseudo_masks": f"pseudo_masks/{INDEX}"})
    chain.run("predictions", {"model": f"segmentation/{MODEL}"}, threads=2)
    return chain


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the results to break."""
    shutil.copytree(made.results.parent, tmp_path / "own")
    again = Chain(tmp_path / "own/results")
    manifest = tmp_path / "own/results/dataset.json"
    info = json.loads(manifest.read_text())
    info["root"] = str(tmp_path / "own/images")
    manifest.write_text(json.dumps(info))
    return again
