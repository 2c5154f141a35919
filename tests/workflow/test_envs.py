"""Conda envs, requirements, lock, container and pyproject.toml: pins agree; every stage's env holds what it imports."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from conda_standin import pip_lines
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from wsss import methods, wrappers
from wsss.nets import segmenters
from wsss.plan.code_digest import closure
from wsss.refine import walks

from rules import every_rule

ROOT = Path(__file__).resolve().parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "pydensecrf": "pydensecrf2", "yaml": "pyyaml", "skimage": "scikit-image"}
OPTIONAL = {"pillow_heif"}  # for those who have such photos
PIN = re.compile(r"([a-z0-9_.-]+)==([0-9][0-9a-z.]*)")
COMPILED = "pydensecrf2"  # comes as source, so its env needs a C++ compiler
CPU_BUILDS = "--extra-index-url https://download.pytorch.org/whl/cpu"
LOCK = ROOT / "requirements.lock"
CONTAINERS = [ROOT / "container/Dockerfile", ROOT / "container/wsss.def"]


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


@functools.cache
def all_pins():
    """Those of requirements.txt, and of the extra that conda's environments and the containers have too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return requirements() | read_pins(project["optional-dependencies"]["pydensecrf"])


def pip_pins(env):
    """Pins of an env's `pip:` section."""
    return read_pins([line for line in pip_lines(env) if line != CPU_BUILDS])


def rules():
    """(rule, env files for PyTorch with CUDA and without, script file, whether it may ask for a GPU) of every rule."""
    without = every_rule("cpu")
    for name, rule in every_rule().items():
        yield name, list(dict.fromkeys((rule["conda"], without[name]["conda"]))), rule["script"], "gpu" in rule["resources"]


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


def modules_of(script):
    """All of `wsss` that a rule's script rests on, parts included that a recipe names."""
    own = [name for name in imported(script) if name.startswith("wsss.")]
    modules = closure(*own, f"wsss.stages.{script.stem}")  # the stage is loaded by name
    if any("wsss.methods" in imported(file_of(module)) for module in modules):
        modules |= closure(*map(methods.module_path, methods.METHODS))  # loaded by name
    if any("wsss.wrappers" in imported(file_of(module)) for module in modules):
        modules |= closure(*map(wrappers.module_path, wrappers.WRAPPERS))
    if "segmenters.get" in "".join(file_of(module).read_text("utf-8") for module in modules):
        modules |= closure(*map(segmenters.module_path, segmenters.SEGMENTERS))
    for stage, parts in (("affinity", walks.LEARNERS), ("pseudo_masks", walks.WALKERS)):
        if f"wsss.stages.{stage}" in modules:
            modules |= closure(*parts.values())
    return modules


def needed(script):
    """Distributions that a rule's script, and all of `wsss` behind it, import."""
    names = {name.split(".")[0] for module in modules_of(script) for name in imported(file_of(module))}
    return {DISTRIBUTIONS.get(n, n) for n in names - set(sys.stdlib_module_names) - {"wsss"} - OPTIONAL}


@pytest.mark.parametrize("env", ENVS, ids=lambda p: p.stem)
def test_env_is_pinned_as_requirements_are(env):
    content = yaml.safe_load(env.read_text("utf-8"))
    plain = [d for d in content["dependencies"] if isinstance(d, str)]
    assert content["channels"] == ["conda-forge"]
    assert "python=3.11" in plain and "pip" in plain
    pins = pip_pins(env)
    assert pins == {name: all_pins().get(name) for name in pins}
    has_compiler = any(d.startswith("cxx-compiler=") for d in plain)
    assert has_compiler == (COMPILED in pins)


@pytest.mark.parametrize("env", ENVS, ids=lambda p: p.stem)
def test_env_parses_as_conda_reads_it(env):
    rattler = pytest.importorskip("rattler", reason="py-rattler (requirements.txt), conda's grammar, is not installed")
    content = yaml.safe_load(env.read_text("utf-8"))
    assert set(content) == {"channels", "dependencies"}
    for line in content["dependencies"]:
        if isinstance(line, str):
            assert rattler.MatchSpec(line, strict=True).name.normalized == line.split("=")[0]
    assert [str(Requirement(line)) for line in pip_lines(env) if line != CPU_BUILDS] == [
        f"{name}=={version}" for name, version in pip_pins(env).items()
    ]


def test_every_rule_has_its_env_and_every_env_its_rule():
    assert {env for _, envs, _, _ in rules() for env in envs} == set(ENVS)
    assert all(script.is_file() for _, _, script, _ in rules())


def test_envs_hold_just_what_their_rules_import():
    wanted = {}
    for _, envs, script, _ in rules():
        for env in envs:
            wanted[env] = wanted.get(env, set()) | needed(script)
    assert {e.stem: sorted(pip_pins(e)) for e in ENVS} == {e.stem: sorted(wanted[e]) for e in ENVS}


def test_pytorch_with_cuda_is_for_rules_that_may_have_a_gpu_and_they_choose():
    """One env with the CPU's build for the others; the saliency rule's GPU is for a user's own command."""
    for name, envs, _, gpu in rules():
        cpu_only = [CPU_BUILDS in pip_lines(env) for env in envs]
        if gpu and name != "saliency":
            assert cpu_only == [False, True], name
            assert pip_lines(envs[1]) == [CPU_BUILDS, *pip_lines(envs[0])]
        else:
            assert cpu_only == ["torch" in pip_pins(envs[0])], name


def locked():
    """requirements.lock: name -> [(version, marker or None)]."""
    found = {}
    for line in LOCK.read_text("utf-8").splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==" and not requirement.url, line
            found.setdefault(canonicalize_name(requirement.name), []).append((pin.version, requirement.marker))
    return found


def test_lock_holds_the_pins_of_requirements():
    assert {name: locked().get(name) for name in requirements()} == {
        name: [(version, None)] for name, version in requirements().items()
    }


def needs(name):
    """What an installed distribution needs here, without extras."""
    wanted = [Requirement(line) for line in metadata.requires(name) or []]
    return [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]


def test_lock_holds_all_that_the_packages_need():
    """One version each on this Python, allowed by those that need it."""
    versions = {
        name: [version for version, marker in choices if marker is None or marker.evaluate()]
        for name, choices in locked().items()
    }
    installed = {canonicalize_name(d.name) for d in metadata.distributions()}
    for name in sorted(set(requirements()) & installed | {n for n in versions if versions[n]} & installed):
        for need in needs(name):
            (version,) = versions.get(canonicalize_name(need.name), [None])
            assert version and need.specifier.contains(version, prereleases=True), f"{name} needs {need}: {version}"


def all_needs(name, found):
    """An installed distribution and all that it needs here."""
    name = canonicalize_name(name)
    if name not in found:
        found.add(name)
        for need in needs(name):
            all_needs(need.name, found)
    return found


def test_planning_needs_snakemake_and_nothing_else():
    """With --sdm conda, Snakemake may stand alone in its own environment."""
    code = "import sys, wsss.dag.rules, wsss.dag.near_names; print(*{name.split('.')[0] for name in sys.modules})"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    loaded = subprocess.check_output([sys.executable, "-c", code], env=env, text=True).split()
    owners = metadata.packages_distributions()
    used = {canonicalize_name(owner) for name in loaded for owner in owners.get(name, [])}
    assert "pyyaml" in used and used - {"setuptools", "wsss"} <= all_needs("snakemake", set())


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
