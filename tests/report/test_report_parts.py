"""What the pages compare, name and count: differences by the bootstrap, confusions, costs, sources."""

import io

import pandas as pd
import pytest
from test_report import CLASSES, make_scores
from wsss.engine.atomic import read_json, write_json, write_text
from wsss.errors import UserError
from wsss.report import comparison, confusions, costs, diagnosis, pages, sources, tables
from wsss.report.repeats import spread
from wsss.report.stage_tables import stage_tables

GOOD, BAD = "10,0,0", "1,9,9"


def counted(*rows):
    """A table as read from per_image.csv; rows: "image,label,tp,fp,fn" of the segmentation."""
    text = "\n".join(["figure,image,label,tp,fp,fn", *(f"segmentation,{row}" for row in rows)])
    return pd.read_csv(io.StringIO(text), dtype={"image": str})


def test_a_sure_difference_is_marked_and_an_unsure_one_is_not():
    images = [f"i{k}" for k in range(12)]
    found = comparison.comparisons({
        "good": counted(*(f"{i},1,{GOOD}" for i in images)),
        "bad": counted(*(f"{i},1,{BAD}" for i in images)),
        "mixed": counted(*(f"{i},1,{GOOD if k else BAD}" for k, i in enumerate(images))),
    }, 3)  # fmt: skip
    (one,) = found
    assert (one["heading"], one["images"]) == ("segmentation", 12) and one["table"].head == ["", "good", "bad", "mixed"]
    good, bad, mixed = one["table"].rows
    assert good[1] == "" and (good[2].text, good[2].tone) == ("+94.7", "better") and bad[1].text == "-94.7" and bad[1].tone == "worse"
    assert good[3].tone == "" and good[3].soft.startswith("+0.0 to ") and mixed[2].tone == "better"


def test_one_image_or_one_method_is_not_compared():
    one = counted(f"a,1,{GOOD}")
    assert comparison.comparisons({"cam": one}, 3) == []
    assert comparison.comparisons({"cam": one, "amn": one}, 3) == [{"heading": "segmentation", "images": 1, "table": None}]


def test_methods_scored_on_other_images_are_refused():
    two = counted(f"a,1,{GOOD}", f"b,1,{GOOD}")
    for other in (counted(f"a,1,{GOOD}"), counted(f"a,1,{GOOD}", f"c,1,{GOOD}")):
        with pytest.raises(UserError, match="segmentation of amn is scored on . images, that of cam on 2, not the same ones; score both again"):
            comparison.comparisons({"cam": two, "amn": other}, 3)
    with pytest.raises(UserError, match="has label 1, the dataset has 0 to 0; score the method again"):
        comparison.comparisons({"cam": two, "amn": two}, 1)


def test_confusions_stand_from_left_to_right():
    pair = {"truth": "background", "taken_for": "train", "of": "train", "percent": 31.24, "pixels": 5}
    found = confusions.confusion_table({"cam": {"top_confusions": [pair, pair]}, "amn": {"top_confusions": [pair]}, "old": {}})
    assert found.rows == [["cam", *[["background → train", "31.2 % of train"]] * 2], ["amn", ["background → train", "31.2 % of train"], ""]]
    assert confusions.confusion_table({"old": {}}) is None


def test_a_matrix_of_other_classes_ends_the_report(tmp_path):
    entry = make_scores(tmp_path, "cam", 0)
    scores = read_json(entry["scores"])
    scores["stages"]["segmentation"]["labels"][1] = "sheep"
    write_json(entry["scores"], scores)
    with pytest.raises(UserError, match=r"cam.json: its confusion matrix is of other classes than the dataset's \(cat, sheep\)"):
        pages.build({"dataset": "d", "classes": CLASSES, "methods": [entry]}, tmp_path / "out")


def link(root, stage, method):
    return {"stage": stage, "method": method, "folder": str(root / method / stage), "log": str(root / f"logs/{method}/{stage}.tsv")}


def benchmark(path, seconds, peak):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t{peak}\t{seconds}\n")


def test_costs_count_what_is_taken_from_others_and_every_job_of_a_split_stage(tmp_path):
    for method, stage, size in (("cam", "classifier", 3_000_000), ("irn", "cam", 500_000), ("irn", "affinity", 0)):
        (tmp_path / method / stage).mkdir(parents=True)
        (tmp_path / method / stage / "file").write_bytes(b"x" * size)
    (tmp_path / "irn/cam/shards").mkdir()
    for name in ("0of2.json", "1of2.json", "1of2.run.json"):
        (tmp_path / "irn/cam/shards" / name).write_bytes(b"")
    logs = tmp_path / "logs"
    benchmark(logs / "cam/classifier.tsv", 10.0, 900)
    benchmark(logs / "irn/cam.tsv", 1.0, 50)  # of the merge
    benchmark(logs / "irn/cam/0of2.tsv", 4.0, 700)
    benchmark(logs / "irn/cam/1of2.tsv", 5.0, "NA")  # too short to measure
    benchmark(logs / "irn/cam/0of3.tsv", 99.0, 9999)  # of another split, long ago
    chain = [link(tmp_path, s, m) for m, s in (("cam", "classifier"), ("irn", "cam"), ("irn", "affinity"), ("irn", "gone"))]
    found = costs.stage_costs(chain)
    assert [(c.stage, c.seconds, c.peak, c.disk) for c in found] == [
        ("classifier", 10.0, 900.0, 3e6), ("cam", 10.0, 700.0, 5e5), ("affinity", None, None, 0.0),
    ]  # fmt: skip
    table = costs.cost_table({"irn": found, "cam": found[:1], "full": []})
    assert table.head[1:4] == ["classifier, s", "cam, s", "affinity, s"] and len(table.rows) == 2
    irn = table.rows[0]
    assert (irn[1].text, irn[1].soft, irn[2].text, irn[3].text) == ("10.0", "of cam", "10.0", "–") and irn[4:] == ["20.0", "900", "3.5"]
    assert costs.stages_table("irn", found).rows[1] == ["cam", "irn", "10.0", "10.0", "700", "0.50"]
    assert costs.cost_table({"cam": []}) is None and costs.stages_table("cam", []) is None


def test_stages_of_all_methods_stand_in_the_order_of_their_chains(tmp_path):
    def chain(*stages):
        return [costs.Cost(stage, "m", 1.0, 1.0, 1.0, 0.0) for stage in stages]

    table = costs.cost_table({"eps": chain("cam", "masks", "net"), "irn": chain("cam", "seeds", "walk", "masks", "net"), "full": chain("net")})
    assert table.head[1:-3] == ["cam, s", "seeds, s", "walk, s", "masks, s", "net, s"]


@pytest.mark.parametrize("content", ["", "s\n", "x\ty\n1\t2\n"])
def test_a_benchmark_that_says_nothing_costs_unknown(tmp_path, content):
    (tmp_path / "cam/cam").mkdir(parents=True)
    (tmp_path / "logs/cam").mkdir(parents=True)
    (tmp_path / "logs/cam/cam.tsv").write_text(content)
    (found,) = costs.stage_costs([link(tmp_path, "cam", "cam")])
    assert (found.seconds, found.peak) == (None, None)


def test_what_differs_between_columns_is_what_one_method_says_twice():
    columns = {
        "seed": {"cam": {"split": "train", "crf": False, "threshold": 0.1, "kept": 1}, "eps": {"split": "train", "crf": False, "threshold": 0.2, "kept": 2}},
        "mask": {"cam": {"split": "train", "crf": True, "kept": 1}, "eps": {"split": "train", "crf": False, "kept": 2}},
        "net": {"cam": {"split": "val", "crf": False, "kept": 1, "code_version": "b"}},
    }  # fmt: skip
    found = sources.differing(columns)
    assert found.head == ["", "seed", "mask", "net"]
    assert found.rows == [["CRF", "no", ["yes (cam)", "no (eps)"], "no"], ["split", "train", "train", "val"]]
    assert sources.differing({"seed": columns["seed"]}) is None
    assert sources.note("seed", columns["seed"]) == "seed: CRF no; split train; kept 1 (cam), 2 (eps); threshold 0.1 (cam), 0.2 (eps)."


def test_classes_stand_as_a_table_with_the_best_marked():
    found = tables.per_class_table(["cat"], {"cam": {"background": spread([50.0, 52.0]), "cat": None}, "amn": {"background": spread([60.0]), "cat": spread([0.0])}})
    assert [[c.text for c in row[1:]] for row in found.rows] == [["51.0", "60.0"], ["–", "0.0"]]
    assert found.rows[0][1].soft == "± 1.4" and [c.is_best for c in found.rows[0][1:]] == [False, True]


def test_map_of_a_classifier_is_on_photos_it_has_not_seen_where_there_are_some():
    seen = {"how": "val", "map": 70.0, "training": {"map": 90.0}}
    assert diagnosis.classifier_map([{"classifier": seen}]) == 70.0
    assert diagnosis.classifier_map([{"classifier": {**seen, "how": "none"}}]) == 90.0
    assert diagnosis.classifier_map([{"classifier": None}]) is None and diagnosis.classifier_map([]) is None


def test_further_scores_have_a_table_where_there_are_some():
    block = {"miou": 50.0, "confusion_ratio": 0.376, "size_iou": {"small": None, "medium": 20.0, "large": 61.25}}
    plain, further = stage_tables(tables.Method("cam", ({"stages": {"seed": {**block, "pxap": 56.04}, "pseudo_mask": block}},)))
    assert plain.head == ["stage", "mIoU"] and further.head == ["stage", "FP/TP", "PxAP", "medium", "large"]
    assert [[cell if isinstance(cell, str) else cell.text for cell in row] for row in further.rows] == [
        ["seed", "0.38", "56.0", "20.0", "61.2"], ["pseudo-mask", "0.38", "–", "20.0", "61.2"],
    ]  # fmt: skip
    assert len(stage_tables(tables.Method("old", ({"stages": {"seed": {"miou": 50.0}}},)))) == 1
