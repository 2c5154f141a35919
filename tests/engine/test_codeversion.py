"""Edits are made on a copy of the library; then digests are taken of it."""

import ast
import os
import shutil
import subprocess
import sys

import pytest
from helpers import LIBRARY
from wsss import methods
from wsss.errors import UserError
from wsss.nets import segmenters
from wsss.plan import code_digest
from wsss.plan.code_digest import BELOW_ENGINE, LEFT_OUT, REGISTRIES, closure, is_within
from wsss.recipes.config import SECTIONS
from wsss.refine import walks


@pytest.fixture
def library(tmp_path):
    shutil.copytree(LIBRARY / "wsss", tmp_path / "wsss", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "wsss"


def names_and_modules():
    """The digests that are looked at: of each stage, and of those with a part that a recipe names."""
    for stage in SECTIONS:
        yield stage, ()
    for stage in ("classifier", "cam"):
        yield from ((f"{name}/{stage}", (methods.module_path(name),)) for name in ("cam", "amn"))
    for stage, modules in (("affinity", walks.LEARNERS), ("pseudo_masks", walks.WALKERS)):
        yield from ((f"{name}/{stage}", (module,)) for name, module in modules.items())
    for stage in ("segmentation", "predictions"):
        yield from ((f"{name}/{stage}", (segmenters.module_path(name),)) for name in segmenters.SEGMENTERS)


def digests(library):
    """Of the library at that place, as a new process takes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_digest, "ROOT", library)
        forget()
        try:
            return {
                name: code_digest.code_version(f"wsss.stages.{name.rpartition('/')[2]}", *modules)
                for name, modules in names_and_modules()
            }
        finally:
            forget()


def forget():
    code_digest.code_version.cache_clear()
    code_digest._source.cache_clear()


def changed(library, edit):
    """The names whose digest differs after `edit()`."""
    before = digests(library)
    edit()
    after = digests(library)
    return {name for name in before if before[name] != after[name]}


def reword(path, old, new):
    """Change a text that the file holds once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {old!r}"
    path.write_text(text.replace(old, new))


def append(path, text):
    path.write_text(path.read_text() + text)


NEW_CODE = "\n\ndef one_thing_more():\n    return 1\n"


def test_digests_repeat_in_another_process(library):
    expected = digests(library)
    code = "from wsss.plan.code_digest import code_version; print(code_version('wsss.stages.seeds'))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={**os.environ, "PYTHONPATH": str(library.parent)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == expected["seeds"]


def test_prose_changes_nothing(library):
    def edit():
        for path in library.rglob("*.py"):
            text = path.read_text()
            assert text.startswith('"""')
            text = '"""Another docstring."""\n\n\n' + text[text.index('"""', 3) + 3 :] + "\n\n\n# a remark\n"
            path.write_text(text)
        target = library / "train/optim.py"
        lines = target.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("def set_learning_rate"))
        lines[at + 1] = '    """Said otherwise."""'
        lines.insert(at + 2, "    # why not\n")
        target.write_text("\n".join(lines) + "\n")

    assert changed(library, edit) == set()


REWORDED = [  # module, words, other words; from raise statements, log calls, and texts that are raised elsewhere
    ("engine/explain.py", "the GPU's memory is used up", "the GPU is full"),
    ("engine/index.py", "not an index of this workflow; {remedy(path)}\")\n        digests", "no index\")\n        digests"),
    ("stages/affinity.py", "holds no tensors named backbone.*; ", "has no trunk; "),
    ("stages/cam.py", "inference of net {net} reads {name} of another recipe", "net {net!r} wants {name}"),
    ("data/manifest.py", "lacks {', '.join(missing)}; {remedy(path)}", "{missing} left out"),
    ("data/table.py", "begins with a dot", "has a dot in front"),
    ("io/tensors.py", "holds nothing but zeros", "is all zero"),
    ("io/cams.py", "missing CAM; ", "no CAM, "),
    ("nets/weights.py", "missing weights; let the workflow fetch them", "no weights; fetch them"),
    ("train/loop.py", "loss is not finite at step {step} (lr {lr:g})", "bad loss at {step}"),
    ("train/loop.py", "training %d steps of %d images, from step %d on %s", "%d x %d from %d (%s)"),
    ("sections/cam.py", "image scales, each with its mirror image", "the scales"),
    ("train/start.py", "a batch of {batch_size} cannot be shared out among {task.gpus} GPUs; ", "batch {size}: "),
]


@pytest.mark.parametrize(("module", "old", "new"), REWORDED, ids=lambda value: value[:20])
def test_a_reworded_message_changes_nothing(library, module, old, new):
    assert changed(library, lambda: reword(library / module, old, new)) == set()


def test_editing_the_engine_changes_nothing(library):
    def edit():
        for path in (library / "engine").glob("*.py"):
            append(path, NEW_CODE)
        reword(library / "engine/clock.py", "PATIENCE_S = 60", "PATIENCE_S = 90")

    assert changed(library, edit) == set()


@pytest.mark.parametrize("number", ["FILES = 1", "WORKER_THREADS = 1"])
def test_what_results_take_from_the_engine_changes_all(library, number):
    """So an index of an older form is never read: whoever wrote it runs again."""
    hit = changed(library, lambda: reword(library / "fixed.py", number, number.replace("1", "2")))
    assert hit == set(digests(library))


def test_a_default_of_a_section_changes_the_stages_that_read_it(library):
    hit = changed(library, lambda: reword(library / "sections/seeds.py", '] = "labels"', '] = "scores"'))
    assert "seeds" in hit and not hit & {"cam", "classifier", "segmentation", "predictions"}


def test_arithmetic_of_the_training_loop_changes_the_trainings(library):
    hit = changed(library, lambda: reword(library / "train/loop.py", "[seed, step, rank]", "[seed, rank, step]"))
    assert {"classifier", "affinity", "segmentation", "amn/classifier", "irn/affinity"} <= hit
    assert not hit & {"seeds", "ir_labels", "evaluation"}


def test_a_number_of_a_method_changes_that_method_only(library):
    text = (library / "methods/options/amn.py").read_text()
    number = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and type(node.value) is float)

    def edit():
        lines = text.splitlines()
        line = lines[number.lineno - 1]
        lines[number.lineno - 1] = line[: number.col_offset] + "0.125" + line[number.end_col_offset :]
        (library / "methods/options/amn.py").write_text("\n".join(lines) + "\n")

    assert changed(library, edit) == {"amn/classifier", "amn/cam"}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("raise UserError(f'{a}: bad {b}')", "raise UserError('no')", True),
        ("raise UserError('x' + ', '.join(names))", "raise UserError('y' + '; '.join(names))", True),
        ("return UserError('x')", "return UserError('y')", True),
        ("log.info('%d of %d', a, b)", "log.info('%d from %d', a, b)", True),
        ("FAULT = for_people('x')", "FAULT = for_people('y')", True),
        ("raise UserError('x')", "raise ValueError('x')", False),
        ("raise SystemExit(143)", "raise SystemExit(1)", False),
        ("log.info('%d', a)", "log.info('%d', a + 1)", False),
        ("log.append('x')", "log.append('y')", False),
        ("kind = 'x'", "kind = 'y'", False),
        ("name = f'{a}.png'", "name = f'{a}.npz'", False),
        ("if kind == 'x':\n    raise UserError('no')", "if kind == 'y':\n    raise UserError('no')", False),
    ],
)
def test_what_counts_as_words(library, one, other, is_same):
    target = library / "refine/crf.py"
    text = target.read_text()
    target.write_text(f"{text}\n{one}\n")
    hit = changed(library, lambda: target.write_text(f"{text}\n{other}\n"))
    assert (hit == set()) is is_same


def test_code_changes_it(library):
    def edit():
        target = library / "train/optim.py"
        text = target.read_text()
        assert "end - 1" in text
        target.write_text(text.replace("end - 1", "end"))

    hit = changed(library, edit)
    assert {"classifier", "affinity", "segmentation", "cam/classifier", "amn/classifier"} <= hit
    assert not hit & {"seeds", "ir_labels", "evaluation"}


def test_a_constant_that_is_no_docstring_counts(library):
    hit = changed(library, lambda: append(library / "refine/crf.py", "\nLIMIT = 'abc'\n"))
    assert "seeds" in hit


def test_editing_the_crf_concerns_crf_stages_only(library):
    hit = changed(library, lambda: append(library / "refine/crf.py", NEW_CODE))
    assert {"seeds", "predictions"} <= hit
    assert not hit & {"classifier", "cam", "affinity", "segmentation", "cam/cam", "amn/cam", "amn/classifier"}


def test_editing_the_walk_concerns_pseudo_masks_only(library):
    hit = changed(library, lambda: append(library / "refine/random_walk.py", NEW_CODE))
    assert hit == {"irn/pseudo_masks", "affinitynet/pseudo_masks"}


@pytest.mark.parametrize(
    ("module", "refine"),
    [
        ("refine/affinitynet.py", "affinitynet"),
        ("refine/affinity_net.py", "affinitynet"),
        ("refine/irn.py", "irn"),
        ("refine/boundary_net.py", "irn"),
    ],
)
def test_editing_one_refinement_changes_no_other(library, module, refine):
    hit = changed(library, lambda: append(library / module, NEW_CODE))
    assert hit == {f"{refine}/affinity", f"{refine}/pseudo_masks"}


def test_a_new_method_changes_nothing(library):
    def edit():
        (library / "methods/new.py").write_text("class New:\n    pass\n")
        registry = library / "methods/__init__.py"
        text = registry.read_text()
        assert '    "cam":' in text
        registry.write_text(text.replace('    "cam":', '    "new": "wsss.methods.new:New",\n    "cam":'))

    assert changed(library, edit) == set()


def test_editing_one_method_changes_no_other(library):
    hit = changed(library, lambda: append(library / "methods/amn.py", NEW_CODE))
    assert hit == {"amn/classifier", "amn/cam"}


def test_editing_one_segmentation_net_changes_no_other(library):
    hit = changed(library, lambda: append(library / "nets/deeplab_v1.py", NEW_CODE))
    assert hit == {"deeplab_v1/segmentation", "deeplab_v1/predictions"}
    hit = changed(library, lambda: append(library / "nets/deeplab.py", NEW_CODE))
    assert hit == {"deeplab_v2/segmentation", "deeplab_v2/predictions"}


def test_editing_the_base_changes_all(library):
    hit = changed(library, lambda: append(library / "methods/base.py", NEW_CODE))
    assert {"amn/classifier", "amn/cam", "cam/classifier", "cam/cam"} <= hit
    assert not hit & {"seeds", "ir_labels", "pseudo_masks", "affinity", "segmentation"}


def test_editing_the_dataset_builders_reruns_no_stage(library):
    hit = changed(library, lambda: append(library / "data/folder.py", NEW_CODE))
    assert hit == set()


def test_lazy_imports_count():
    assert "wsss.data.voc" in closure("wsss.data.demo")  # imported inside a function


def test_a_packages_own_init_counts_for_what_imports_from_it(library, monkeypatch):
    monkeypatch.setattr(code_digest, "ROOT", library)
    (library / "methods/mine").mkdir()
    (library / "methods/mine/__init__.py").write_text("W = 1\n")
    (library / "methods/mine/net.py").write_text("from . import W\n")
    forget()
    assert "wsss.methods.mine" in closure("wsss.methods.mine.net")
    (library / "methods/mine/net.py").write_text("from .....x import W\n")
    forget()
    with pytest.raises(UserError, match="wsss.methods.mine.net: a relative import leads out of its package"):
        closure("wsss.methods.mine.net")
    forget()


@pytest.mark.parametrize("line", ["from .mine_help import W", "from . import mine_help", "from ..methods.mine_help import W"])
def test_relative_imports_of_ones_own_method_count(library, monkeypatch, line):
    monkeypatch.setattr(code_digest, "ROOT", library)
    (library / "methods/mine.py").write_text(f"{line}\n")
    (library / "methods/mine_help.py").write_text("W = 1\n")
    forget()
    assert "wsss.methods.mine_help" in closure("wsss.methods.mine")
    forget()


def test_no_import_escapes_the_digest():
    """Modules loaded by name are not followed, and our own imports are written whole: the former is for registries, and for what starts the stage."""
    by_name = {LIBRARY.joinpath(*name.split(".")).with_suffix(".py") for name in REGISTRIES}
    by_name |= {path.with_suffix("") / "__init__.py" for path in by_name}
    by_name |= {LIBRARY / "wsss/engine/entry.py"}
    for path in (LIBRARY / "wsss").rglob("*.py"):
        tree = ast.parse(path.read_text())
        relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert not relative, f"{path}: relative import"
        if path not in by_name and path.relative_to(LIBRARY / "wsss").parts[0] not in PLANNING:
            assert "import_module" not in path.read_text() and "__import__" not in path.read_text(), path


def test_packages_hold_no_code_of_their_own():
    """`import wsss.a.b` runs the packages' __init__ too, which the digest leaves out."""
    for path in (LIBRARY / "wsss").rglob("__init__.py"):
        if path.parent.name not in ("methods", "wrappers"):
            code = [n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.Expr)]
            assert all(isinstance(node, ast.Assign) for node in code), path


# Every package and module of the library is on one side (`wsss.engine` argues the line). Whoever adds one says which.
PLUMBING = {"engine"}
COUNTED = {
    "annotations", "data", "imports", "io", "methods", "nets", "refine", "report", "saliency", "score", "sections", "stages", "train", "wrappers",
    "constants", "digest", "errors", "fixed", "found", "predict", "ranks", "rownames",
}  # fmt: skip
# What these answer goes into a rule's inputs and parameters, which Snakemake compares itself.
PLANNING = {"plan", "recipes", "dag", "console", "__main__"}


def test_every_package_is_on_a_side():
    there = {path.stem for path in (LIBRARY / "wsss").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(there - {"__init__"}) == sorted([*PLUMBING, *COUNTED, *PLANNING])
    assert {name for name in there if is_within(f"wsss.{name}", LEFT_OUT)} == PLUMBING


def test_no_stage_rests_on_planning():
    planning = tuple(f"wsss.{name}" for name in PLANNING)
    for path in (LIBRARY / "wsss/stages").glob("*.py"):
        found = closure(f"wsss.stages.{path.stem}", without=LEFT_OUT)
        assert not {name for name in found if is_within(name, planning)}, path


def test_what_is_left_out_is_there():
    assert all(closure(name) for name in (*LEFT_OUT, *BELOW_ENGINE))


def imports_of(path):
    """Dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", sorted((LIBRARY / "wsss/engine").glob("*.py")), ids=lambda path: path.stem)
def test_nothing_that_shapes_results_hides_behind_the_engine(path):
    """It rests on itself and on what is in every digest, and computes nothing with arrays."""
    names = set(imports_of(path))
    ours = {name for name in names if name.startswith("wsss")}
    assert all(name == "wsss.engine" or is_within(name, ("wsss.engine",)) or name in BELOW_ENGINE for name in ours), ours
    arrays = {name.split(".")[0] for name in names} & {"numpy", "cv2", "torch", "scipy", "skimage", "PIL", "pandas"}
    assert not arrays


def test_what_is_below_the_engine_rests_on_nothing_else():
    for name in BELOW_ENGINE:
        assert closure(name) == {name}


def test_stages_are_stages():
    """`stages/` holds one module a stage, each with `run`, and a rule's script runs it."""
    for path in (LIBRARY / "wsss/stages").glob("*.py"):
        if path.stem != "__init__":
            functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
            assert "run" in functions, path
            assert f'start("{path.stem}", snakemake)' in (LIBRARY / f"{path.stem}.py").read_text(), path
