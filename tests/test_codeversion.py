"""Edits are made on a copy of the library and digests taken in a fresh process, as Snakemake takes them."""

import ast
import os
import shutil
import subprocess
import sys

import pytest
from helpers import LIBRARY
from wsss.codeversion import REGISTRIES, closure
from wsss.config import STAGES


@pytest.fixture
def library(tmp_path):
    shutil.copytree(LIBRARY / "wsss", tmp_path / "wsss", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "wsss"


SCRIPT = """
from wsss import methods
from wsss.codeversion import code_version
from wsss.nets import segmenters
from wsss.refine import walks
for stage in {stages!r}:
    print(stage, code_version("wsss.stages." + stage))
for stage in ("classifier", "cam"):
    for name in ("cam", "amn"):
        print(name + "/" + stage, code_version("wsss.stages." + stage, methods.module_path(name)))
for stage, modules in (("affinity", walks.LEARNERS), ("pseudo_masks", walks.WALKERS)):
    for name, module in modules.items():
        print(name + "/" + stage, code_version("wsss.stages." + stage, module))
for stage in ("segmentation", "predictions"):
    for name in segmenters.SEGMENTERS:
        print(name + "/" + stage, code_version("wsss.stages." + stage, segmenters.module_path(name)))
"""


def digests(library):
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT.format(stages=STAGES)],
        env={**os.environ, "PYTHONPATH": str(library.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in done.stdout.splitlines())


def changed(library, edit):
    """The names whose digest differs after `edit()`."""
    before = digests(library)
    edit()
    after = digests(library)
    return {name for name in before if before[name] != after[name]}


def append(path, text):
    path.write_text(path.read_text() + text)


NEW_CODE = "\n\ndef one_thing_more():\n    return 1\n"


def test_digests_repeat(library):
    assert digests(library) == digests(library)


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


def test_editing_one_refinement_changes_no_other(library):
    hit = changed(library, lambda: append(library / "refine/affinitynet.py", NEW_CODE))
    assert hit == {"affinitynet/affinity", "affinitynet/pseudo_masks"}
    hit = changed(library, lambda: append(library / "refine/irn.py", NEW_CODE))
    assert hit == {"irn/affinity", "irn/pseudo_masks"}


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


def test_no_import_escapes_the_digest():
    """Relative imports, and modules loaded by name, are not followed: only the registries may do the latter."""
    registries = {LIBRARY.joinpath(*name.split(".")).with_suffix(".py") for name in REGISTRIES}
    registries |= {path.with_suffix("") / "__init__.py" for path in registries}
    for path in (LIBRARY / "wsss").rglob("*.py"):
        tree = ast.parse(path.read_text())
        relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert not relative, f"{path}: relative import"
        if path not in registries:
            assert "import_module" not in path.read_text() and "__import__" not in path.read_text(), path


def test_packages_hold_no_code_of_their_own():
    """`import wsss.a.b` runs the packages' __init__ too, which the digest leaves out."""
    for path in (LIBRARY / "wsss").rglob("__init__.py"):
        if path.parent.name not in ("methods", "wrappers"):
            code = [n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.Expr)]
            assert all(isinstance(node, ast.Assign) for node in code), path
