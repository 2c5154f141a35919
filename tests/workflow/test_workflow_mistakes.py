"""Mistakes of the user's end in one line; photos without masks have no mIoU, and a report."""

import json
import shutil

import pytest
from helpers import edit, own_photos, planned, rules_of, shorten, snakemake
from workflow_run import TARGET, complaint, has_line


def test_unknown_keys_end_in_one_line(clone):
    lines = complaint(clone, "-n", "--config", "sedes=[1]")
    assert has_line(lines, "config.yaml: unknown key sedes", "allowed: compute")
    edit(clone / "config/methods/cam.yaml", lambda c: c["classifier"].update(lrr=1))
    lines = complaint(clone, "-n", TARGET)
    assert has_line(lines, "methods/cam.yaml: unknown key lrr in classifier")


@pytest.mark.parametrize(
    "target, words",
    [
        (
            "results/demo_tiny/irn/seeds/index.json",
            ["irn takes its seeds from recipe cam", "ask for that recipe's file"],
        ),
        (
            "results/demo_tiny/cam/affinity/model.safetensors",
            ["method cam has no stage affinity in its recipe"],
        ),
        ("results/demo_tiny/foo/miou.txt", ["methods/foo.yaml: no such file", "known methods: amn, amn_eps, amn_eps_irn, amn_seed"]),
        ("results/dmo_tiny/amn/miuo.txt", ["results/dmo_tiny/amn/miuo.txt", "did you mean results/demo_tiny/amn/miou.txt?"]),
        ("xyz", ["xyz: nothing makes a file of this name", "results/DATASET/METHOD/miou.txt", "config/methods"]),
    ],
)
def test_targets_that_cannot_be(fresh, target, words):
    assert has_line(complaint(fresh, "-n", target), *words)


def test_the_whole_path_of_a_right_target(fresh):
    (fresh.parent / "link").symlink_to(fresh)
    for folder in (fresh, fresh.parent / "link"):
        lines = complaint(fresh, "-n", str(folder / "results/demo_tiny/amn/miou.txt"))
        assert has_line(lines, "targets are written from the working directory: results/demo_tiny/amn/miou.txt")


def test_a_target_of_a_config_file_that_is_misnamed(clone):
    (clone / "config/datasets/Photos.v2.yaml").write_text("kind: folder\n")
    lines = complaint(clone, "-n", "results/Photos.v2/manifest.csv")
    assert has_line(lines, "nothing makes a file of this name", "config/datasets/Photos.v2.yaml is passed over", "rename the file")


def test_a_config_folder_that_cannot_be_read(clone):
    shutil.rmtree(clone / "config/methods")
    (clone / "config/methods").write_text("")
    assert has_line(complaint(clone, "-n", TARGET), "config/methods: cannot be read (Not a directory); put a folder there")


def test_a_folder_without_masks_has_no_miou(clone):
    own_photos(clone)
    lines = complaint(clone, "-n", "results/own/cam/miou.txt")
    hint = (
        "own has no ground-truth masks, so there is no mIoU; ask for results/own/cam/predictions/index.json"
    )
    assert lines.count(hint) == 1
    assert "cam/predictions" in planned(clone, "results/own/cam/predictions/index.json")
    jobs = rules_of(snakemake(clone, "-n", "--config", "datasets=[own]", "methods=[cam]").stdout)
    assert jobs["predictions"] == jobs["diagnosis"] == jobs["report"] == 1 and "evaluation" not in jobs


def test_own_photos_without_masks_end_in_a_report(clone):
    """What README says of own photos, cut short: masks, a report with pictures, and in plain words what is wrong."""
    shorten(own_photos(clone).parents[2])
    done = snakemake(clone, "--cores", "2", "--config", "datasets=[own]", "methods=[cam]")
    assert done.returncode == 0, done.stdout[-3000:]
    results = clone / "results/own"
    assert len(list((results / "cam/predictions").glob("p?.png"))) == 3
    page = (results / "report/index.html").read_text()
    assert "<h2>Diagnosis</h2>" in page and 'src="panels/cam/' in page and "<h2>Methods</h2>" not in page
    found = json.loads((results / "cam/diagnosis.json").read_text())
    lone = "of green there is one training photo only"  # red, green, red
    assert any(lone in line for line in found["warnings"])
    lines = done.stdout.splitlines()
    assert has_line(lines, "WARNING cam/classifier", lone)  # when the stage ended
    assert has_line(lines, f"WARNING own/cam: {len(found['warnings'])} warning", "results/own/cam/diagnosis.txt")
    assert planned(clone, "results/own/report/index.html", "--config", "methods=[cam]") == set()


def test_full_without_val_masks_is_refused_before_training(clone):
    own_photos(clone)
    table = clone / "own/labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",mask", *(f"{line},m.png" for line in lines[1:])]) + "\n")
    words = ["own has no val images with masks", "leave full out of `methods`"]
    assert has_line(complaint(clone, "-n", "results/own/full/miou.txt"), *words)
    assert "cam/evaluation" in planned(clone, "results/own/cam/miou.txt")


def test_a_missing_label_file_is_named(clone):
    own_photos(clone)
    (clone / "own/labels.csv").unlink()
    assert has_line(
        complaint(clone, "-n", "--config", "datasets=[own]", "methods=[cam]"), "own/labels.csv: cannot be read"
    )


def test_an_error_of_a_stage_is_one_line(clone):
    image = own_photos(clone)
    image.write_bytes(image.read_bytes()[:100])
    lines = complaint(clone, "--cores", "1", "results/own/manifest.csv")
    assert has_line(lines, "p0.png") and not (clone / "results/own/manifest.csv").exists()


def test_a_working_directory_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    import wsss.dag.start as ours

    monkeypatch.chdir(tmp_path)
    ours.check_working_directory()
    monkeypatch.setattr(ours.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ours.Mistake, match=f"{tmp_path}: no permission to write there; change its mode"):
        ours.check_working_directory()


def test_a_home_that_snakemake_takes_for_a_wildcard_is_named():
    from wsss.dag.start import Mistake, check_home

    check_home("/home/a b [1] ü#%")
    with pytest.raises(Mistake, match=r"/home/{x}/wsss: the project's folder.* has { or } in.*rename it"):
        check_home("/home/{x}/wsss")


def test_what_is_found_before_the_first_job_is_one_line(fresh):
    lines = complaint(fresh, "results/demo_tiny/manifest.csv", "--cores", "0")
    assert lines[-2:] == ["WorkflowError:", "--cores 0 leaves no core to work with; give 1 or more, or `all`"]
