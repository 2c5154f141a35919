"""Stage `saliency` on real files: our own maps, a user's command, and all that can be wrong with one."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import LIBRARY, RUNTIME, environment, folder_dataset
from PIL import Image
from wsss.data.manifest import load_manifest
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.saliency import read_saliency
from wsss.saliency import program as commands
from wsss.stages import saliency

SIZES = ((40, 56), (64, 48), (33, 90), (40, 40))
MODEL = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image

listed, out, *rest = sys.argv[1:]
asked = [line.split("\\t") for line in open(listed, encoding="utf-8").read().splitlines()]
Path(__file__).with_suffix(".asked").open("a").write(f"{len(asked)}\\n")
print("looking at", len(asked), "images")
for number, (name, path) in enumerate(asked):
    gray = np.asarray(Image.open(path).convert("L"))
    BODY
    Image.fromarray(gray).save(Path(out, f"{name}.png"))
"""


@pytest.fixture
def results(tmp_path):
    return folder_dataset(tmp_path / "own data", SIZES)


def task_of(results, make="robust_background", threads=1, **options):
    inputs = {name: str(results / name) for name in ("manifest.csv", "dataset.json")}
    return Task(
        "saliency",
        {"manifest": inputs["manifest.csv"], "dataset": inputs["dataset.json"]},
        {"index": str(results / "saliency/index.json")},
        {"settings": {"make": make, **options}, "code": "x"},
        RUNTIME,
        threads,
    )


def model(folder, body="pass"):
    """A user's program in a folder whose name a shell would trip over; returns its command."""
    folder = folder / 'mo\'del $(touch owned) `x`; & "q"'
    folder.mkdir(exist_ok=True)
    script = folder / "run it.py"
    script.write_text(MODEL.replace("BODY", body))
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{list}} {{out}}", script


def made(results):
    """id -> map of everything in the stage's folder, checked against its index."""
    index = json.loads((results / "saliency/index.json").read_text())
    records = load_manifest(results / "manifest.csv").split("trainaug")
    assert index["ids"] == sorted(r.id for r in records) and index["suffixes"] == [".png"]
    return {r.id: read_saliency(results / "saliency" / f"{r.id}.png") for r in records}


# --- our own maps --------------------------------------------------------------------------------------


def test_every_training_image_gets_a_map_of_its_size(results):
    saliency.run(task_of(results))
    maps = list(made(results).values())
    assert [m.shape for m in maps] == list(SIZES)
    assert all(m[m.shape[0] // 2, m.shape[1] // 2] > 200 and m[0, 0] < 50 for m in maps)  # the coloured box
    record = json.loads((results / "saliency/run.json").read_text())
    assert record["images"] == 4 and "scikit-image" in record["packages"]


def test_processes_change_nothing(results):
    saliency.run(task_of(results))
    one = {name: m.tobytes() for name, m in made(results).items()}
    for path in (results / "saliency").iterdir():
        path.unlink()
    saliency.run(task_of(results, threads=3))
    assert one == {name: m.tobytes() for name, m in made(results).items()}


def test_a_second_run_makes_what_is_missing_only(results, monkeypatch):
    saliency.run(task_of(results))
    lost = next((results / "saliency").glob("*.png"))
    lost.unlink()
    done = []
    monkeypatch.setattr(
        saliency, "make_map", lambda *job, old=saliency.make_map: done.append(job) or old(*job)
    )
    saliency.run(task_of(results))
    assert [record.id for record, *_ in done] == [lost.stem] and lost.is_file()
    saliency.run(task_of(results, superpixels=100))
    assert len(done) == 1 + len(SIZES)


# --- a user's command ----------------------------------------------------------------------------------


def test_a_command_makes_the_maps_and_no_shell_sees_it(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, _ = model(tmp_path)
    saliency.run(task_of(results, "command", command=command))
    for record in load_manifest(results / "manifest.csv").split("trainaug"):
        with Image.open(record.image) as image:
            np.testing.assert_array_equal(made(results)[record.id], np.asarray(image.convert("L")))
    assert not list(tmp_path.rglob("owned")) and not list((results / "saliency").glob(".command*"))
    assert json.loads((results / "saliency/index.json").read_text())["made_by"] == "command"


def test_only_images_still_to_do_are_asked_for(results, tmp_path):
    command, script = model(tmp_path)
    saliency.run(task_of(results, "command", command=command))
    next((results / "saliency").glob("*.png")).unlink()
    saliency.run(task_of(results, "command", command=command))
    saliency.run(task_of(results, "command", command=command))
    assert script.with_suffix(".asked").read_text().split() == ["4", "1"]


@pytest.mark.parametrize(
    "body, words",
    [
        ("gray = np.stack([gray] * 3, -1)", "mode RGB, not 8-bit gray.*convert"),
        ("gray = gray.astype(np.uint16) * 257", "mode I;16, not 8-bit gray.*257"),
        ("gray = gray[1:]", r"is 56x39, its image 56x40.*resize the map"),
        ("gray = gray.T.copy()", r"is 40x56, its image 56x40"),
    ],
)
def test_wrong_maps_are_all_listed(results, tmp_path, body, words):
    command, _ = model(tmp_path, body)
    with pytest.raises(UserError, match=f"left (3|4) of 4 maps wrong.*mend the command[^§]*{words}"):
        saliency.run(task_of(results, "command", command=command))
    assert not (results / "saliency/index.json").exists() and not list((results / "saliency").glob("*.png"))


def test_missing_and_broken_maps_are_listed_together_and_mended(results, tmp_path):
    body = 'if number == 0: continue\n    if number == 1: Path(out, f"{name}.png").write_bytes(b"half"); continue'
    command, script = model(tmp_path, body)
    with pytest.raises(UserError) as error:
        saliency.run(task_of(results, "command", command=command))
    assert "left 2 of 4 maps" in str(error.value)
    assert "was not written" in str(error.value) and "not a readable saliency map" in str(error.value)
    script.write_text(MODEL.replace("BODY", "pass"))  # not an input of this task: the two whole maps are kept
    saliency.run(task_of(results, "command", command=command))
    assert script.with_suffix(".asked").read_text().split() == ["4", "2"] and len(made(results)) == 4


def test_another_command_starts_afresh(results, tmp_path):
    command, script = model(tmp_path, "if number == 0: continue")
    with pytest.raises(UserError):
        saliency.run(task_of(results, "command", command=command))
    saliency.run(task_of(results, "command", command=model(tmp_path)[0] + " more"))
    assert script.with_suffix(".asked").read_text().split() == ["4", "4"]


def test_a_failing_command_is_quoted(results, tmp_path):
    body = "for k in range(100): print('line', k, file=sys.stderr)\n    raise SystemExit(3)"
    command, _ = model(tmp_path, body)
    with pytest.raises(UserError, match="ended with status 3; its last lines") as error:
        saliency.run(task_of(results, "command", command=command))
    assert "line 99" in str(error.value) and "line 84" not in str(error.value)
    with pytest.raises(UserError, match="its last lines:\n  looking at 4 images"):  # nothing on stderr
        saliency.run(task_of(results, "command", command=model(tmp_path, "raise SystemExit(1)")[0]))


@pytest.mark.parametrize(
    "command, words",
    [
        ("no_such_program {list} {out}", "no_such_program: cannot be started .No such file.*mend `command`"),
        ("{list} {out}", "list.tsv: cannot be started .Permission denied"),
    ],
)
def test_a_command_that_cannot_be_started(results, command, words):
    with pytest.raises(UserError, match=words):
        saliency.run(task_of(results, "command", command=command))


@pytest.mark.parametrize(
    "command, words",
    [
        ("run '{list} {out}", "quotes must be closed"),
        ("run {list}", "lacks {out}"),
        ("run", "{list} and {out}"),
        ("/no/such/program {list} {out}", "/no/such/program: no such file .seen from .*; mend the path"),
        ("python such.py {list} {out}", "such.py: no such file"),
    ],
)
def test_commands_that_are_no_command(command, words):
    with pytest.raises(UserError, match=words):
        commands.words(command)


@pytest.mark.parametrize(
    "command",
    [
        "apptainer exec u2.sif python /opt/u2net/predict.py {list} {out}",
        "docker run --rm net python /app/run.py {list} {out}",
        "env -C elsewhere python such.py {list} {out}",
        "python -m such --config=elsewhere/such.py {list} {out}",
    ],
)
def test_files_of_a_container_are_not_looked_for_here(command):
    assert commands.words(command) == command.split()


def test_files_in_a_command_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my net.py", "net.pth", "more.pth"):
        (tmp_path / name).touch()
    command = f"python 'my net.py' --weights=more.pth {tmp_path}/net.pth {{list}} --out={{out}}"
    assert commands.named_files(command) == [f"{tmp_path}/net.pth", "more.pth", "my net.py"]


def test_a_path_that_would_break_the_list(tmp_path):
    with pytest.raises(UserError, match="line break in a path"):
        commands.write_list(tmp_path / "list.tsv", [("a", tmp_path / "a\nb.png")])


def test_places_inside_words_are_filled_in_once(tmp_path):
    odd = tmp_path / "{out}"
    odd.mkdir()
    program = "import sys; open(sys.argv[2][4:] + '/said', 'w').write(sys.argv[1])"
    commands.run_command(
        f'{sys.executable} -c "{program}" --list={{list}} out={{out}}', odd / "l.tsv", tmp_path, lambda: None
    )
    assert (tmp_path / "said").read_text() == f"--list={odd}/l.tsv"


def test_shards_share_a_folder_and_no_list(results, tmp_path):
    command, script = model(tmp_path)
    for shard in ("1of2", "2of2"):
        task = task_of(results, "command", command=command)
        task.params["shard"] = shard
        task.outputs["index"] = str(results / f"saliency/shards/{shard}.json")
        saliency.run(task)
    records = load_manifest(results / "manifest.csv").split("trainaug")
    assert all(
        read_saliency(results / f"saliency/{r.id}.png").shape == size
        for r, size in zip(records, SIZES, strict=True)
    )
    asked = [int(number) for number in script.with_suffix(".asked").read_text().split()]
    assert sum(asked) == 4 and len(asked) == 2
    assert not list((results / "saliency").glob(".command*"))


def test_the_program_of_the_docs_runs(results, tmp_path):
    page = (LIBRARY.parents[1] / "docs/saliency.md").read_text("utf-8")
    (program,) = [b for b in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "run.py" in b]
    (tmp_path / "run.py").write_text(program, "utf-8")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'run.py'))} {{list}} {{out}}"
    saliency.run(task_of(results, "command", command=command))
    assert all(m.max() > 20 for m in made(results).values())


# --- long commands -------------------------------------------------------------------------------------


def test_progress_is_logged(results, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(saliency, "PROGRESS_SECONDS", 0.0)
    command, _ = model(tmp_path, "import time; time.sleep(0.7)")
    with caplog.at_level("INFO"):
        saliency.run(task_of(results, "command", command=command))
    assert re.search("the command has written [0-3] of 4 maps", caplog.text)  # how many, the machine's load decides


RUN = """
import sys
sys.path[:0] = [{library!r}, {tests!r}, {tests!r} + "/saliency"]
from pathlib import Path
from test_saliency_stage import task_of
from wsss.stages import saliency
saliency.run(task_of(Path({results!r}), "command", command={command!r}))
"""


def wait_for(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_stage_takes_its_command_along_and_goes_on_later(results, tmp_path, signum):
    hang = tmp_path / "hang"
    hang.touch()
    body = f"number or Path({str(tmp_path / 'pid')!r}).write_text(str(__import__('os').getpid()))\n    "
    body += f"import time\n    while number == 2 and Path({str(hang)!r}).exists(): time.sleep(0.05)"
    command, script = model(tmp_path, body)
    text = RUN.format(
        library=str(LIBRARY), tests=str(LIBRARY.parents[1] / "tests"), results=str(results), command=command
    )
    process = subprocess.Popen([sys.executable, "-c", text], env=environment())
    out = results / "saliency/.command-all/out"
    wait_for(lambda: out.is_dir() and len(list(out.glob("*.png"))) == 2)
    process.send_signal(signum)
    assert process.wait(30) == (143 if signum == signal.SIGTERM else -signal.SIGKILL)
    wait_for(lambda: not running(int((tmp_path / "pid").read_text())))
    hang.unlink()
    saliency.run(task_of(results, "command", command=command))
    assert script.with_suffix(".asked").read_text().split() == ["4", "2"] and len(made(results)) == 4


def running(pid):
    """Whether a process is alive (a zombie that nobody has asked after yet is not)."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not os.path.isdir("/proc/self")
