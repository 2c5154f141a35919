"""Copied and moved projects read their own photos; what is edited reruns what sees it, and no more."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import copy_project, photo, planned, shorten, snakemake
from PIL import Image
from wsss.data.manifest import Row, load_manifest, write_manifest
from wsss.data.user_files import with_variables
from wsss.errors import UserError
from wsss.plan.watched import require_manifest

TABLE, NETWORK = "results/own/manifest.csv", "results/own/cam/classifier/model.safetensors"


def own_data(project):
    """Photos below the project, masks in a folder beside them, one photo beside the CSV: two of train, two of val."""
    rng = np.random.default_rng(0)
    lines = ["image,labels,split"]
    for number, where in enumerate(("images", ".", "images", "images")):
        (project / "own" / where).mkdir(parents=True, exist_ok=True)
        (project / "own/masks").mkdir(exist_ok=True)
        image, mask = photo(rng, (48, 64), number % 2)
        Image.fromarray(image).save(project / f"own/{where}/p{number}.png")
        Image.fromarray(mask).save(project / f"own/masks/p{number}.png")
        lines.append(f"p{number}.png,{['red', 'green'][number % 2]},{'val' if number > 1 else 'train'}")
    (project / "own/labels.csv").write_text("\n".join(lines) + "\n")
    (project / "config/datasets/own.yaml").write_text(
        "kind: folder\npreset: tiny\nparams: {images: own/images, labels: own/labels.csv, masks: own/masks}\n"
    )
    return project


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project whose classifier is trained on photos of its own."""
    project = own_data(shorten(copy_project(tmp_path_factory.mktemp("first") / "project")))
    done = snakemake(project, "--cores", "1", NETWORK)
    assert done.returncode == 0, done.stdout
    return project


def files_of(project):
    return {path for r in load_manifest(project / TABLE).records for path in (r.image, r.mask) if path}


def test_a_copied_project_has_its_own_photos_and_reruns_nothing(trained, tmp_path):
    """Also once it has made its manifest again, and where the old project is gone or means something else."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy, symlinks=True)
    assert {path.is_relative_to(copy) and path.is_file() for path in files_of(copy)} == {True}
    assert snakemake(copy, "--cores", "1", "--force", TABLE).returncode == 0
    moved = copy.rename(tmp_path / "moved")
    assert {path.is_relative_to(moved) and path.is_file() for path in files_of(moved)} == {True}
    assert planned(moved, NETWORK) == set()


def test_an_edited_mask_trains_nothing_again(trained, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(trained, project, symlinks=True)
    Image.new("L", (64, 48)).save(project / "own/masks/p2.png")
    before = {name: (project / f"results/own/{name}.json").read_bytes() for name in ("images", "masks_train", "masks_val")}
    assert snakemake(project, "--cores", "1", NETWORK).returncode == 0  # the manifest, and then nothing
    after = {name: (project / f"results/own/{name}.json").read_bytes() for name in before}
    assert {name for name in before if before[name] != after[name]} == {"masks_val"}
    assert planned(project, NETWORK) == set()


def test_scores_and_full_supervision_follow_the_masks_they_look_at(trained):
    """As the rules declare it."""
    done = snakemake(trained, "-n", "--printshellcmds", "results/own/full/miou.txt", "results/own/cam/miou.txt")
    assert done.returncode == 0, done.stdout
    blocks = done.stdout.split("\nrule ")
    inputs = {}
    for block in blocks[1:]:
        name, _, rest = block.partition(":")
        words = rest.split("input: ")[1].split("\n")[0] if "input: " in rest else ""
        row = rest.split("method=")[1].split(",")[0].split("\n")[0] if "method=" in rest else ""
        inputs[f"{row}/{name}"] = words
    assert "masks_train.json" in inputs["full/segmentation"] and "masks_val" not in inputs["full/segmentation"]
    assert "masks_" not in inputs["cam/segmentation"] + inputs["cam/cam"] + inputs["cam/predictions"]
    assert "scored.json" in inputs["cam/predictions"]
    for row in ("full/evaluation", "cam/evaluation"):
        assert "masks_train.json" in inputs[row] and "masks_val.json" in inputs[row]


# --- the manifest's root


def write(folder, root, image, **more):
    rows = [Row("a", ("train", "trainaug"), image, ("cat",), **more)]
    return write_manifest(folder, name="own", root=root, classes=["cat"], rows=rows)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def test_paths_below_the_working_directory_are_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, mask = picture(tmp_path / "own/images/a.png"), picture(tmp_path / "own/masks/a.png")
    write(Path("results/own"), tmp_path / "own/images", image, mask=mask)
    assert json.loads(Path("results/own/dataset.json").read_text())["root"] == "../../own/images"
    assert "./../../own/masks/a.png" in Path("results/own/manifest.csv").read_text()
    monkeypatch.chdir("/")
    (record,) = load_manifest(tmp_path / "results/own/manifest.csv").records
    assert (record.image, record.mask) == (image, mask)


def test_photos_elsewhere_and_masks_in_the_project(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    image, mask = picture(tmp_path / "disk/a.png"), picture(tmp_path / "project/resources/masks/a.png")
    write(Path("results/own"), tmp_path / "disk", image, mask=mask)
    moved = (tmp_path / "project").rename(tmp_path / "moved")
    (record,) = load_manifest(moved / "results/own/manifest.csv").records
    assert (record.image, record.mask) == (image, moved / "resources/masks/a.png")


def test_where_files_lie_is_in_no_digest(tmp_path, monkeypatch):
    names = ("images", "saliency", "masks_train", "masks_val", "scored")
    found = []
    for place in ("one", "two"):
        image, mask = picture(tmp_path / place / "a.png"), picture(tmp_path / f"{place}_masks/a.png")
        dataset = write(tmp_path / f"out_{place}", tmp_path / place, image, mask=mask)
        found.append((dataset.digest, *[(tmp_path / f"out_{place}/{name}.json").read_bytes() for name in names]))
    assert found[0] == found[1]


def test_a_manifest_of_other_photos_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("results/own"), tmp_path / "old/images", picture(tmp_path / "old/images/a.png"))
    spec = {"kind": "folder", "params": {"images": "old/images", "labels": "x"}}
    require_manifest(spec, "own")
    monkeypatch.setenv("PLACE", "new")
    spec = with_variables({"kind": "folder", "params": {"images": "$PLACE/images", "labels": "x"}})
    with pytest.raises(UserError, match="is of the photos in .*old/images, .* names .*new/images; .*snakemake --force results/own/manifest.csv"):
        require_manifest(spec, "own")
    require_manifest({"kind": "demo", "params": {}}, "own")
    require_manifest(spec, "not_made_yet")
    table = Path("results/own/manifest.csv")
    table.write_text(table.read_text().replace("cat", "dog"))
    with pytest.raises(UserError, match="was edited or damaged; .*snakemake --force results/own/manifest.csv"):
        require_manifest({"kind": "demo", "params": {}}, "own")


def test_a_copy_that_forgot_what_it_was_made_of_is_refused_before_anything_runs(trained, tmp_path):
    """Results without Snakemake's notes: nothing else would say that the config names other photos."""
    project = tmp_path / "project"
    shutil.copytree(trained, project, symlinks=True)
    shutil.rmtree(project / ".snakemake")
    os.rename(project / "own", project / "mine")
    config = project / "config/datasets/own.yaml"
    config.write_text(config.read_text().replace("own/", "mine/"))
    done = snakemake(project, "--cores", "1", "results/own/cam/cam/index.json")
    assert done.returncode != 0 and "make it again" in done.stdout and "Traceback" not in done.stdout, done.stdout
    assert not (project / "results/own/cam/cam").exists()
