"""VOC's test images: found before anything runs, predicted as val's are, and packed as the server takes them."""

import io
import tarfile

import numpy as np
import pytest
from helpers import REPOSITORY, RUNTIME, Chain, folder_dataset
from PIL import Image
from wsss.data.voc_test import LIST, find_images, write_archive
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.masks import VOC_PALETTE, write_mask
from wsss.io.models import save_model
from wsss.plan import voc_test as planned
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.recipes.schema import read_yaml
from wsss.stages import voc_test
from wsss.stages.segmentation import build_network

SETTINGS = {"scales": [0.5, 1.0], "flip": True, "batch_size": 4, "crf": False}
WHERE = "config/datasets/voc12.yaml"


def voc_tree(root, ids=("2008_000006", "2008_000011"), missing=()):
    tree = root / "VOCdevkit/VOC2012"
    (tree / LIST).parent.mkdir(parents=True)
    (tree / "JPEGImages").mkdir()
    (tree / LIST).write_text("\n".join(ids) + "\n")
    for number, image_id in enumerate(ids):
        if image_id not in missing:
            pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 56, 3), np.uint8)
            Image.fromarray(pixels).save(tree / f"JPEGImages/{image_id}.jpg")
    return root


def test_images_in_the_lists_order(tmp_path):
    found = find_images(str(voc_tree(tmp_path, ("b", "a"))), WHERE)
    assert list(found) == ["b", "a"] and found["a"].endswith("VOCdevkit/VOC2012/JPEGImages/a.jpg")


def test_missing_images_are_one_line(tmp_path):
    voc_tree(tmp_path, [f"i{n}" for n in range(9)], [f"i{n}" for n in range(2, 7)])
    with pytest.raises(UserError, match=r"5 of the 9 test images not there \(i2, i3, i4, \.\.\.\); unpack") as error:
        find_images(str(tmp_path), WHERE)
    assert "\n" not in str(error.value)


def test_no_list_is_one_line(tmp_path):
    with pytest.raises(UserError, match=rf"no {LIST} here .* or mend `test` in {WHERE}"):
        find_images(str(tmp_path), WHERE)


@pytest.fixture
def plan_of():
    """A plan whose dataset file voc12.yaml has these changes."""

    def made(**changes):
        plan = Plan(REPOSITORY / "config", read_yaml(REPOSITORY / "config/config.yaml"))
        known = plan.config.dataset
        plan.config.dataset = lambda name: {**known(name), **changes} if name == "voc12" else known(name)
        return plan

    return made


def test_planning_reads_the_list_once(tmp_path, plan_of):
    plan, row = plan_of(test=str(voc_tree(tmp_path))), Row("voc12", "cam")
    assert planned.inputs(plan, row)["model"] == "results/voc12/cam/segmentation/model.safetensors"
    (tmp_path / "VOCdevkit/VOC2012" / LIST).unlink()
    before = planned.stamp(plan, row)
    image = next(iter(planned.images(plan, row).values()))
    Image.new("RGB", (9, 9)).save(image)
    assert planned.stamp(plan, row) != before


def test_what_has_no_test_images_is_refused_while_planning(plan_of):
    with pytest.raises(UserError, match="voc12.yaml: name the folder of VOC's test images, `test: FOLDER`"):
        planned.inputs(plan_of(test=None), Row("voc12", "cam"))
    with pytest.raises(UserError, match="demo.yaml: the test server is VOC's, this dataset is of kind demo; ask for results/demo/cam/miou.txt"):
        planned.inputs(plan_of(), Row("demo", "cam"))


def test_archive_as_the_development_kit_lays_it_out(tmp_path):
    for image_id in ("a", "b"):
        write_mask(tmp_path / f"{image_id}.png", np.full((3, 4), 20, np.uint8))
    for name in ("one.tar", "two.tar"):
        write_archive(tmp_path / name, tmp_path, ["a", "b"])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert archive.getnames() == [f"results/VOC2012/Segmentation/comp6_test_cls/{i}.png" for i in ("a", "b")]


def test_stage_writes_masks_of_the_images_sizes(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", sizes=((48, 64),) * 2, masks=True))
    save_model(chain.results / "model.safetensors", build_network(chain.task("predictions"), 2))
    out = tmp_path / "test"
    inputs = {"dataset": str(chain.results / "dataset.json"), "model": str(chain.results / "model.safetensors")}
    params = {**chain.plan.params("predictions", chain.row), "settings": SETTINGS, "tree": {"folder": str(voc_tree(tmp_path / "voc")), "where": WHERE}}
    outputs = {"index": str(out / "index.json"), "archive": str(out / "results.tar")}
    voc_test.run(Task("voc_test", inputs, outputs, params, RUNTIME))
    with tarfile.open(out / "results.tar") as archive:
        assert len(archive.getmembers()) == 2
        for member, height in zip(archive.getmembers(), (40, 41), strict=True):
            mask = Image.open(io.BytesIO(archive.extractfile(member).read()))
            assert mask.mode == "P" and mask.size == (56, height) and mask.getpalette()[:768] == VOC_PALETTE.ravel().tolist()
            assert set(np.unique(np.array(mask))) <= {0, 1, 2}
