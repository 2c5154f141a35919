"""Which images the report shows: the worst and the best of the first method, and others evenly between."""

import pytest
from config_files import CONFIG
from wsss.data.manifest import Record
from wsss.plan.pages import panels_inputs
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.recipes.schema import read_yaml
from wsss.report.per_image import last_ious
from wsss.stages.panels import mixed

RECORDS = [Record(f"i{n:02}", ("train", "trainaug"), (0,), "", (f"i{n:02}.jpg", "", "", "")) for n in range(20)]


def ids(count, ious):
    return [int(record.id[1:]) for record in mixed(RECORDS, count, ious)]


def test_a_quarter_is_worst_a_quarter_best_the_rest_even():
    ious = {r.id: 50.0 for r in RECORDS} | {"i07": 1.0, "i08": 2.0, "i01": 99.0, "i03": 98.0}
    assert ids(8, ious) == [0, 1, 3, 7, 8, 9, 14, 19]
    assert ids(4, ious) == [0, 1, 7, 19] and ids(1, ious) == ids(1, {}) == [0]
    assert ids(8, {}) == ids(8, {"i05": 3.0}) == [0, 3, 5, 8, 11, 14, 16, 19]  # one alone is neither


@pytest.mark.parametrize("count", [0, 3, 8, 19, 20, 50])
def test_no_image_twice_and_none_too_many(count):
    found = ids(count, {r.id: float(n % 7) for n, r in enumerate(RECORDS)})
    assert found == sorted(set(found)) and len(found) == min(count, 20)


def test_an_image_counts_by_the_last_figure_it_has():
    ious = {"segmentation": {"v": 40.0}, "pseudo_mask": {"t": 30.0}, "seed_best": {"t": 10.0, "v": 5.0}, "other": {"v": 1.0}}
    assert last_ious(ious) == {"t": ("pseudo_mask", 30.0), "v": ("segmentation", 40.0)}


def test_all_methods_of_a_report_ask_the_first_one():
    plan = Plan(CONFIG, {**read_yaml(CONFIG / "config.yaml"), "methods": ["cam", "amn"]})
    first = {"per_image": "results/demo_tiny/cam/per_image.csv"}
    assert panels_inputs(plan, Row("demo_tiny", "amn")) == panels_inputs(plan, Row("demo_tiny", "cam")) == first
    assert panels_inputs(plan, Row("demo_tiny", "irn")) == {}  # asked for by hand: nothing more is made for it
