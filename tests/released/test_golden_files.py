"""The golden files, what they alone say, and the page that is made of the comparisons."""

import json

import make_parity
import numpy as np
import pytest
from golden_case import FOLDER
from parity import agree, differ
from parity_differences import DIFFERENCES, SGD

NETWORKS = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("network", SGD)
def test_momentum_in_effect(network):
    """How far apart three steps of the released code are with the momentum that it had in effect and with none."""
    steps = json.loads((FOLDER / f"{network}.json").read_text("utf-8"))["scalars"]["steps"]
    ways = [{k: norms[1] for k, norms in steps[name]["after_3"].items()} for name in ("momentum_0", "released")]
    differ(network, "momentum", *ways, at_least=1e-6, at_most=0.01, measure="each")


def test_every_file_has_a_section():
    assert sorted(make_parity.PAGES) == NETWORKS
    assert all(set(difference.networks) <= set(NETWORKS) for difference in DIFFERENCES.values())


def row(**facts):
    return {"network": "eps", "stage": "forward", "measure": "largest", "value": 1e-6, "tolerance": 3e-5, "numbers": 7, **facts}


def rows():
    equal = [row(network=network) for network in NETWORKS]
    measured = [(name, n) for name, d in DIFFERENCES.items() if not d.figure for n in d.networks]
    return equal + [{"network": n, "difference": name, "measure": "share", "value": 0.02} for name, n in measured]


def check(tmp_path, monkeypatch, given, page):
    """Exit status of --check."""
    monkeypatch.setattr(make_parity, "TARGET", tmp_path / "parity.md")
    make_parity.TARGET.write_text(page, "utf-8")
    (tmp_path / "rows").write_text("\n".join(map(json.dumps, given)), "utf-8")
    return make_parity.main(["--check", "--rows", str(tmp_path / "rows")])


def test_check_looks_at_rows_not_at_figures(tmp_path, monkeypatch):
    page = make_parity.page(rows())
    other = [{**r, "value": r["value"] / 50} for r in rows()]
    assert check(tmp_path, monkeypatch, other, page) == 0
    assert check(tmp_path, monkeypatch, [*rows(), row(stage="a new stage")], page) == 1
    assert check(tmp_path, monkeypatch, [r | {"tolerance": 1.0} if "stage" in r else r for r in rows()], page) == 1


@pytest.mark.parametrize("lost", [0, -1])
def test_missing_rows_end_with_a_line(lost):
    given = rows()
    del given[lost]
    with pytest.raises(SystemExit, match="compared|fit together"):
        make_parity.page(given)


def test_page_says_all_differences():
    text = make_parity.TARGET.read_text("utf-8")
    assert all(f"| {name}. {d.what} | {d.why} |" in text for name, d in DIFFERENCES.items())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([1.0, 2.1], [1.0, 2.0]),
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, 2.0, 3.0], [1.0, 2.0]),
        ([], []),
        ([1.0, 1.0], [1.0, 1.0]),
        ({"a": 1.0, "b": 2.0}, {"a": 1.0, "c": 2.0}),
    ],
    ids=["apart", "not a number", "another shape", "nothing", "all one value", "other names"],
)
@pytest.mark.parametrize("measure", ["largest", "each", "absolute", "share"])
def test_agree_finds_what_does_not(ours, theirs, measure, monkeypatch):
    monkeypatch.delenv("WSSS_PARITY", raising=False)
    with pytest.raises(AssertionError):
        agree("network", "stage", ours, theirs, 1e-3, measure)


def test_what_is_zero_there_must_be_zero_here(monkeypatch):
    monkeypatch.delenv("WSSS_PARITY", raising=False)
    agree("network", "stage", [0.0, 1.0], [0.0, 1.0], 1e-3, "each")
    with pytest.raises(AssertionError):
        agree("network", "stage", [1e-30, 1.0], [0.0, 1.0], 1e-3, "each")
