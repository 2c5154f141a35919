"""The index of a stage's files, and the journal of its work."""

import pytest
from wsss import digest
from wsss.engine import index, journal
from wsss.errors import UserError


def test_index_names_ids_and_files_and_the_command(tmp_path):
    for name in ("a.png", "a.unsure.png", "b.png"):
        (tmp_path / name).write_text(name)
    index.write_index(tmp_path, {"b": ["2"], "a": ["1"]}, [".png", ".unsure.png"], norm="max")
    path = tmp_path / "index.json"
    assert index.read_index(path, ["a"])["norm"] == "max"
    with pytest.raises(UserError, match=r"2 of 3 ids have no file here \(c, b\); run: snakemake --force .*index.json") as caught:
        index.read_index(path, ["a", "b", "c"])
    assert str(tmp_path) in str(caught.value)


def test_index_does_not_depend_on_the_order_of_work(tmp_path):
    for folder, order in (("one", "ab"), ("two", "ba")):
        index.write_index(tmp_path / folder, {i: [i * 3] for i in order}, [".npy"])
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "two/index.json").read_bytes()
    index.write_index(tmp_path / "three", {"a": ["aaa"], "b": ["other"]}, [".npy"])
    assert (tmp_path / "three/index.json").read_bytes() != (tmp_path / "one/index.json").read_bytes()


@pytest.mark.parametrize("content", ["{}", "[]", '{"ids": 3}'])
def test_an_index_of_another_program_is_named(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError, match="index.json.*run: snakemake --force .*index.json"):
        index.read_index(tmp_path / "index.json", ["a"])


def worked(folder, *ids):
    folder.mkdir(exist_ok=True)
    log = journal.Journal(folder, "f1", [".txt"])
    for item in ids:
        (folder / f"{item}.txt").write_text(item)
        log.add(item)
    return log


def test_journal_remembers(tmp_path):
    worked(tmp_path, "a", "ünï cöde", "b c")
    assert list(journal.Journal(tmp_path, "f1", [".txt"]).done) == ["a", "ünï cöde", "b c"]


@pytest.mark.parametrize("cut", [2, 5, 40, 80])
def test_journal_killed_in_the_middle_of_a_line(tmp_path, cut):
    log = worked(tmp_path, "a", "ü")
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    again = journal.Journal(tmp_path, "f1", [".txt"])
    assert list(again.done) == ["a"]
    again.add("ü")  # what is appended after a cut line must be readable
    assert log.path.read_bytes() == whole
    assert list(journal.Journal(tmp_path, "f1", [".txt"]).done) == ["a", "ü"]


def test_journal_that_lost_its_last_newline(tmp_path):
    log = worked(tmp_path, "a", "b")
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-1])
    (tmp_path / "c.txt").write_text("c")
    journal.Journal(tmp_path, "f1", [".txt"]).add("c")
    assert list(journal.Journal(tmp_path, "f1", [".txt"]).done) == ["a", "b", "c"]


def test_journal_cut_to_nothing(tmp_path):
    log = worked(tmp_path, "a")
    log.path.write_bytes(log.path.read_bytes()[:10])
    assert journal.Journal(tmp_path, "f1", [".txt"]).done == {}


def test_changed_and_lost_files_are_redone(tmp_path):
    worked(tmp_path, "a", "b", "c")
    (tmp_path / "a.txt").write_text("changed")
    (tmp_path / "b.txt").unlink()
    assert list(journal.Journal(tmp_path, "f1", [".txt"]).done) == ["c"]


def test_another_fingerprint_redoes_everything(tmp_path):
    worked(tmp_path, "a")
    assert journal.Journal(tmp_path, "f2", [".txt"]).done == {}
    assert journal.Journal(tmp_path, "f1", [".txt"]).done == {}  # f2 has taken over the folder


def test_fingerprint_ignores_order_and_nothing_else():
    assert digest.fingerprint({"a": 1, "b": [1, 2]}) == digest.fingerprint({"b": [1, 2], "a": 1})
    assert digest.fingerprint({"a": 1}) != digest.fingerprint({"a": 1.5})
    assert digest.fingerprint({"a": [1, 2]}) != digest.fingerprint({"a": [2, 1]})
