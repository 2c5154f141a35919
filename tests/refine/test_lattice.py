"""The permutohedral lattice and its machine code: against the exact Gaussian, bit for bit, kept on disk."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plain_crf import plain_crf, scene, unary_from_labels
from wsss.errors import UserError
from wsss.refine import crf_lattice
from wsss.refine.crf import IRN_LABEL, label_energy, label_marginals, to_labels
from wsss.refine.lattice import compiled, steps, table
from wsss.refine.lattice.mean_field import filtered, normalised
from wsss.refine.lattice.table import build

LIBRARY = Path(__file__).resolve().parents[2] / "workflow/scripts"
ONE_CRF = """
import hashlib, sys, time
import numpy as np
from wsss.refine.crf import IRN_LABEL, label_marginals
image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
labels = (np.arange(600).reshape(20, 30) % 7 > 3).astype(int)
start = time.process_time()
found = label_marginals(image, labels, 1 - labels, 3)
print(hashlib.sha256(found[0].tobytes()).hexdigest(), time.process_time() - start)
from wsss.refine.lattice.compiled import cache_folder
print(cache_folder())
"""


def exact_filter(features, values):
    """D^-1/2 K D^-1/2 values with the Gaussian's matrix K, (N, N)."""
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    kernel = np.exp(-distance / 2)
    scale = 1 / np.sqrt(kernel.sum(1))
    return scale * (kernel @ (scale * values))


def lattice_filter(image, values, *widths):
    """F values of the kernel with those widths, found by a filter of both kernels, of which the other gets no weight; and F 1."""
    place, colour = (widths, (4.0, 30.0)) if len(widths) == 1 else ((3.0,), widths)
    weights = (1.0, 0.0) if len(widths) == 1 else (0.0, 1.0)
    kernels = tuple(normalised(build(image, *given), weight) for given, weight in zip((place, colour), weights, strict=True))
    rows = values[None].astype(np.float32)
    filtered(kernels, rows, [np.zeros((2, kernel.vertices + 1), np.float32) for kernel in kernels])
    return rows[0], kernels[0].ones + kernels[1].ones


@pytest.mark.parametrize("widths", [(3.0,), (1.5,), (8.0, 20.0), (4.0, 40.0)])
def test_filter_is_nearly_the_exact_gaussian(widths):
    image, labels = scene(18, 26)
    y, x = np.mgrid[:18, :26]
    features = np.stack([x, y], -1).reshape(-1, 2) / widths[0]
    if len(widths) == 2:
        features = np.concatenate([features, image.reshape(-1, 3) / widths[1]], 1)
    values = labels.ravel().astype(np.float64)
    found, ones = lattice_filter(image, values, *widths)
    np.testing.assert_allclose(found, exact_filter(features, values), atol=0.1)
    assert np.abs(found - exact_filter(features, values)).mean() < 0.02
    np.testing.assert_allclose(ones, exact_filter(features, np.ones(values.shape)), atol=0.12)


def test_filter_is_symmetric():
    """K = S B S^T with the same weights on both sides, up to the order in which the axes are blurred."""
    image, _ = scene(10, 12)
    a, b = np.random.default_rng(0).random((2, 120))
    left, right = lattice_filter(image, a, 4.0, 30.0)[0] @ b, lattice_filter(image, b, 4.0, 30.0)[0] @ a
    assert left == pytest.approx(right, rel=1e-2)


@pytest.mark.parametrize("widths", [(3.0,), (50.0, 5.0), (1.0, 0.5)])
def test_weights_are_barycentric_and_neighbours_mutual(widths):
    image = np.random.default_rng(1).integers(0, 256, (15, 17, 3), dtype=np.uint8)
    lattice = build(image, *widths)
    assert lattice.weight.min() > -1e-4
    np.testing.assert_allclose(lattice.weight.sum(1), 1, atol=1e-5)
    used = len(lattice.mass) - 1
    assert set(np.unique(lattice.vertex)) == set(range(used))
    for axis in lattice.neighbour:
        there = axis[:, 0] < used
        np.testing.assert_array_equal(axis[axis[there, 0], 1], np.flatnonzero(there))


def test_noise_with_a_vertex_for_each_weight_grows_the_table():
    image = np.random.default_rng(2).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    lattice = build(image, 1.0, 0.5)
    assert len(lattice.mass) - 1 > 0.6 * 4096
    labels = np.random.default_rng(3).integers(0, 2, (30, 40))
    params = replace(IRN_LABEL, sxy_bilateral=1.0, srgb=0.5)
    for got, given in zip(label_marginals(image, labels, labels[::-1], 2, params), (labels, labels[::-1]), strict=True):
        wanted = plain_crf(image, unary_from_labels(np.ascontiguousarray(given), 2, 0.7, zero_unsure=False), params)
        assert (to_labels(got) == wanted).mean() > 0.999


@pytest.mark.parametrize("n_labels", [2, 3, 6])
def test_bit_for_bit(n_labels):
    image, labels = scene()
    first, again = (label_marginals(image, labels, 1 - labels, n_labels) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("problems", [1, 2, 3])
@pytest.mark.parametrize("n_labels", [2, 5, 6])
def test_problems_side_by_side_are_those_alone(n_labels, problems):
    image, labels = scene()
    energies = [label_energy(np.roll(labels, 5 * i, 1), n_labels, 0.7) for i in range(problems)]
    together = crf_lattice.marginals(image, energies, IRN_LABEL)
    for energy, found in zip(energies, together, strict=True):
        (alone,) = crf_lattice.marginals(image, [energy], IRN_LABEL)
        np.testing.assert_allclose(found, alone, atol=2e-6)
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_no_iteration_is_the_softmax():
    image, labels = scene()
    energy = label_energy(labels, 4, 0.7)
    (found,) = crf_lattice.marginals(image, [energy], replace(IRN_LABEL, iterations=0))
    np.testing.assert_allclose(found, np.exp(-energy), rtol=1e-5)


def test_keys_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="sxy 1e-05, srgb 1e-05 are too small.*crf.backend: pydensecrf"):
        build(np.zeros((4, 4, 3), np.uint8), 1e-5, 1e-5)


def test_every_function_has_one_variant():
    """Jobs that start at once would mix up the variants of a function in numba's index."""
    for n_labels in (2, 3, 9):
        image, labels = scene(20 + n_labels, 30)
        image.flags.writeable = False
        label_marginals(image, labels, 1 - labels, n_labels)
    made = [f for module in (table, steps) for f in vars(module).values() if hasattr(f, "signatures")]
    assert len(made) > 10
    assert {f.__name__: f.signatures for f in made if len(f.signatures) > 1} == {}


# --- machine code on disk


def start(code=ONE_CRF, **changes):
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"PYTHONPATH": str(LIBRARY), **changes}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def result(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    (digest, seconds), folder = out.split("\n")[0].split(), out.split("\n")[1]
    return digest, float(seconds), folder


@pytest.fixture
def read_only_code(tmp_path):
    """The library in a copy that cannot be written; as root by a mount, where a container lets it, since permissions do not bind root."""
    copy = shutil.copytree(LIBRARY, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a-w", copy], check=True)
    is_mounted = os.geteuid() == 0 and subprocess.run(["mount", "--bind", "-o", "ro", copy, copy], capture_output=True).returncode == 0
    yield copy
    if is_mounted:
        subprocess.run(["umount", copy], check=True)
    subprocess.run(["chmod", "-R", "u+w", copy], check=True)


def test_jobs_that_start_at_once_share_machine_code_and_leave_a_read_only_checkout_alone(tmp_path, read_only_code):
    cache, files = str(tmp_path / "cache"), sorted(read_only_code.rglob("*"))
    environment = {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(read_only_code), "PYTHONDONTWRITEBYTECODE": "1"}
    found = [result(job) for job in [start(**environment) for _ in range(2)]]
    found.append(result(start(**environment)))
    assert sorted(read_only_code.rglob("*")) == files
    assert len({digest for digest, _, _ in found}) == 1
    assert found[-1][1] < 0.5 * min(seconds for _, seconds, _ in found[:2])
    assert found[-1][2].startswith(cache) and list(Path(found[-1][2]).rglob("*.nbc"))


def folder_for(monkeypatch, **environment):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    compiled.cache_folder.cache_clear()
    try:
        return compiled.cache_folder()
    finally:
        compiled.cache_folder.cache_clear()


def test_where_machine_code_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be below it")
    assert folder_for(monkeypatch, NUMBA_CACHE_DIR=tmp_path / "own").parent == tmp_path / "own"
    assert folder_for(monkeypatch, XDG_CACHE_HOME=tmp_path / "xdg").parent == tmp_path / "xdg/wsss"
    assert folder_for(monkeypatch, HOME=tmp_path / "home").parent == tmp_path / "home/.cache/wsss"
    assert folder_for(monkeypatch, HOME=blocked).parent == tmp_path / f"temporary/wsss-{os.getuid()}"
    assert folder_for(monkeypatch, NUMBA_CACHE_DIR=blocked) is None


def test_a_folder_that_others_may_write_is_not_trusted(monkeypatch, tmp_path):
    folder = folder_for(monkeypatch, NUMBA_CACHE_DIR=tmp_path)
    folder.chmod(0o777)
    assert folder_for(monkeypatch, NUMBA_CACHE_DIR=tmp_path) is None


def test_without_a_folder_it_compiles_for_itself(monkeypatch):
    monkeypatch.setattr(compiled, "cache_folder", lambda: None)
    assert compiled.compiled(lambda x: x + 1)(2) == 3


def test_only_a_crf_loads_numba():
    code = "import sys, wsss.dag.rules, wsss.stages.seeds, wsss.stages.predictions, wsss.stages.cam, wsss.stages.evaluation; assert 'numba' not in sys.modules"
    assert start(code).wait(120) == 0
