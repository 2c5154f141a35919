"""Conda envs, requirements.txt and pyproject.toml: pins agree, and every stage's env holds what it imports."""

import ast
import functools
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from wsss import methods
from wsss.codeversion import closure
from wsss.nets import segmenters
from wsss.stages import walks

ROOT = Path(__file__).resolve().parents[1]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "pydensecrf": "pydensecrf2", "yaml": "pyyaml", "skimage": "scikit-image"}
PIN = re.compile(r"([a-z0-9_.-]+)==([0-9][0-9a-z.]*)")
COMPILED = "pydensecrf2"  # comes as source, so its env needs a C++ compiler


def read_pins(lines):
    """name -> version of `name==version` lines."""
    pins = {}
    for line in lines:
        match = PIN.fullmatch(line)
        assert match, f"{line!r} is no exact pin (name==version)"
        pins[match[1]] = match[2]
    return pins


@functools.cache
def requirements():
    """requirements.txt as name -> version."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    return read_pins([line for line in lines if line])


def pip_pins(env):
    """Pins of an env's `pip:` section."""
    sections = [d["pip"] for d in yaml.safe_load(env.read_text("utf-8"))["dependencies"] if isinstance(d, dict)]
    return read_pins([line for section in sections for line in section])


def rules():
    """(rule, conda env file, script file) of every rule."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^rule ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            conda = re.search(r'^    conda:\s+"([^"]+)"', block, re.MULTILINE)
            script = re.search(r'^    script:\s+"([^"]+)"', block, re.MULTILINE)
            name = block.split(":")[0]
            assert conda and script, f"{path.name}: rule {name} needs conda and script"
            found.append((name, (path.parent / conda[1]).resolve(), (path.parent / script[1]).resolve()))
    return found


def imported(path):
    """Dotted names a file imports, functions included."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def file_of(module):
    """Source file of a `wsss` module."""
    base = ROOT / "workflow/scripts" / Path(*module.split("."))
    return base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"


def needed(script):
    """Distributions that a rule's script, and all of `wsss` behind it, import."""
    modules = closure(*(name for name in imported(script) if name.startswith("wsss.")))
    if any("wsss.methods" in imported(file_of(module)) for module in modules):
        modules |= closure(*map(methods.module_path, methods.METHODS))  # loaded by name
    if "segmenters.get" in "".join(file_of(module).read_text("utf-8") for module in modules):
        modules |= closure(*map(segmenters.module_path, segmenters.SEGMENTERS))
    for stage, parts in (("affinity", walks.LEARNERS), ("pseudo_masks", walks.WALKERS)):
        if f"wsss.stages.{stage}" in modules:
            modules |= closure(*parts.values())
    names = {name.split(".")[0] for module in modules for name in imported(file_of(module))}
    return {DISTRIBUTIONS.get(n, n) for n in names - set(sys.stdlib_module_names) - {"wsss"}}


@pytest.mark.parametrize("env", ENVS, ids=lambda p: p.stem)
def test_env_is_pinned_as_requirements_are(env):
    content = yaml.safe_load(env.read_text("utf-8"))
    plain = [d for d in content["dependencies"] if isinstance(d, str)]
    assert content["channels"] == ["conda-forge"]
    assert "python=3.11" in plain and "pip" in plain
    pins = pip_pins(env)
    assert pins == {name: requirements().get(name) for name in pins}
    has_compiler = any(d.startswith("cxx-compiler=") for d in plain)
    assert has_compiler == (COMPILED in pins)


def test_every_rule_has_its_env_and_every_env_its_rule():
    used = {env for _, env, _ in rules()}
    assert used == set(ENVS)
    assert all(script.is_file() for _, _, script in rules())


def test_envs_hold_just_what_their_rules_import():
    wanted = {}
    for _, env, script in rules():
        wanted[env] = wanted.get(env, set()) | needed(script)
    assert {e.stem: sorted(pip_pins(e)) for e in ENVS} == {e.stem: sorted(wanted[e]) for e in ENVS}


def test_requirements_lie_within_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ranges = project["dependencies"] + project["optional-dependencies"]["test"]
    assert {re.split(r"[<>=~! ]", r)[0] for r in ranges} == set(requirements())
    for line in ranges:
        name, *bounds = re.split(r"([<>=]=?)", line.replace(",", ""))
        version = numbers(requirements()[name])
        for sign, bound in zip(bounds[::2], bounds[1::2], strict=True):
            limit = numbers(bound)
            fits = {">=": version >= limit, "<": version < limit, "==": version == limit}
            assert fits[sign], f"{name}: {version} is outside {line}"


def numbers(version):
    """Release numbers for comparison."""
    return tuple(map(int, re.findall(r"\d+", version)))
