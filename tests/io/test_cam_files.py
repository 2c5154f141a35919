"""CAM files and their reader: what is stored, how it is read, what is refused."""

import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from wsss.errors import UserError
from wsss.io.cam_forms import GEOMETRIES, Form, StoredCam
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.grids import nearest_centre, pack_foreground, unpack_foreground, walk_grid
from wsss.methods.cam import CAM

CLASSES = ("cat", "dog", "cow", "sofa")
FACTS = {"form": "sum", "geometry": "stretch", "norm": "max", "scales": [1.0, 2.0], "classes": list(CLASSES)}
GRIDS = ((3, 4), (5, 8))
SIZE = (21, 30)


def slow_bilinear(source, height, width, corners=False):
    """Bilinear resize of (h, w) as written in the textbook: half-pixel centres (or corners on corners), edges repeated."""
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            sy, sx = (place(*one, corners) for one in ((y, height, source.shape[0]), (x, width, source.shape[1])))
            y0, x0 = int(sy), int(sx)
            y1, x1 = min(y0 + 1, source.shape[0] - 1), min(x0 + 1, source.shape[1] - 1)
            wy, wx = sy - y0, sx - x0
            top = source[y0, x0] * (1 - wx) + source[y0, x1] * wx
            bottom = source[y1, x0] * (1 - wx) + source[y1, x1] * wx
            out[y, x] = top * (1 - wy) + bottom * wy
    return out


def place(at, new, old, corners):
    if corners:
        return at * (old - 1) / max(new - 1, 1)
    return min(max((at + 0.5) * old / new - 0.5, 0), old - 1)


def slow_read(maps, geometry, size, target):
    """Every row of every scale resized on its own, then summed."""
    views = {n: (round(size[0] * s), round(size[1] * s)) for n, s in enumerate(FACTS["scales"])}
    total = np.zeros((len(maps[0]), *target))
    for n, one in enumerate(maps):
        for k, row in enumerate(one):
            if geometry == "view":
                row = slow_bilinear(row, *views[n], corners=True)
            padded = target == size and geometry == "pad16"
            canvas = [(side + 15) // 16 * 16 for side in size] if padded else target
            total[k] += slow_bilinear(row, *canvas)[: target[0], : target[1]]
    return total


def random_maps(rows=2, seed=0):
    rng = np.random.default_rng(seed)
    maps = [rng.random((rows, *grid)).astype(np.float16).astype(np.float32) for grid in GRIDS]
    maps[0][:, 0, 0] = 0  # as a ReLU leaves them: the level is 0
    return maps


def test_flat_maps_keep_their_contrast(tmp_path):
    """What a class has everywhere stands beside the map, so that float16 has its steps for the rest."""
    maps = [2 + one / 500 for one in random_maps()]
    write_cam(tmp_path / "a.npz", [0, 3], maps)
    for one, other in zip(read_cam(tmp_path / "a.npz").maps, maps, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)  # plain float16 would be off by 1e-3


@pytest.mark.parametrize("size", [SIZE, (5, 40)])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("on_grid", [False, True])
def test_reading_equals_the_slow_way(tmp_path, size, geometry, on_grid):
    maps, target = random_maps(), walk_grid(size) if on_grid else size
    expected = slow_read(maps, geometry, size, target)
    for norm in ("max", "none", "min_max"):
        cams, record = folder(tmp_path, maps, geometry=geometry, norm=norm)
        found = cams.on_grid(record, size) if on_grid else cams.at(record, size)
        low, high = expected.min((1, 2), keepdims=True), expected.max((1, 2), keepdims=True)
        wanted = {"max": expected / (high + 1e-5), "none": expected, "min_max": (expected - low) / (high - low + 1e-5)}
        assert found.dtype == np.float32 and found.shape == (2, *target)
        np.testing.assert_allclose(found, wanted[norm], atol=2e-5)


def folder(path, maps, classes=(0, 3), labels=None, **facts):
    """A folder with the CAM of one image `a`, and its record."""
    write_cam(path / "a.npz", classes, maps)
    record = SimpleNamespace(id="a", labels=tuple(classes if labels is None else labels))
    return CamFolder.of(path / "index.json", {**FACTS, **facts}), record


def test_padding_does_not_shift_the_map():
    """A pad16 map that is linear over the padded canvas is linear over the image, with the same slope."""
    columns = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 4, 8)).copy() / 8
    full = Form("sum", "pad16", "none").read(StoredCam((0,), (columns,)), (10, 30), (10, 30))
    np.testing.assert_allclose(full[0, 5, 2:30], (np.arange(2, 30) + 0.5) / 32 - 0.5 / 8, atol=1e-6)


@pytest.mark.parametrize("size, grid", [((375, 500), (94, 125)), ((1, 1), (1, 1)), ((33, 2000), (9, 500))])
def test_walk_grid(size, grid):
    assert walk_grid(size) == grid


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("norm", ["max", "cut_min_max", "min_max"])
def test_no_class_and_nothing_seen(tmp_path, geometry, norm):
    for classes in ((), (1, 2)):
        maps = [np.zeros((len(classes), *grid), np.float32) for grid in GRIDS]
        cams, record = folder(tmp_path, maps, classes, geometry=geometry, norm=norm)
        for found, shape in ((cams.at(record, SIZE), SIZE), (cams.on_grid(record, SIZE), walk_grid(SIZE))):
            assert found.shape == (len(classes), *shape) and (found == 0).all()


def test_the_norm_of_seam_cuts_and_stretches():
    stored = StoredCam((0,), (np.array([[[-1.0, 0.0, 1.0, 3.0]]], np.float32),))
    found = Form("sum", "stretch", "cut_min_max").read(stored, (1, 4), (1, 4))
    np.testing.assert_allclose(found, [[[0, 0, 1 / 3, 1]]], atol=1e-5)


def test_the_softmax_form_keeps_probabilities_on_the_background():
    logits = np.array([[[0.0, 2.0, -1.0]], [[1.0, 0.0, 0.0]]], np.float32)
    rest, label = np.array([[[0.0, 0.5, 1.0]]], np.float32), np.array([[0, 7, 255]], np.uint8)
    e = np.exp(np.concatenate([rest, logits]))
    probs = (e / e.sum(0))[1:]
    low, high = probs.min((1, 2), keepdims=True), probs.max((1, 2), keepdims=True)
    stored = StoredCam((0, 1), (logits + 1, logits - 1), {"rest": rest, "foreground": pack_foreground(label)})
    found = Form("softmax", "stretch", "min_max").read(stored, (1, 3), (1, 3))
    np.testing.assert_allclose(found[..., 0], probs[..., 0], atol=1e-6)
    np.testing.assert_allclose(found[..., 1:], ((probs - low) / (high - low + 1e-5))[..., 1:], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (7, 19)])
def test_packed_labels_come_back(size):
    label = np.random.default_rng(0).integers(0, 3, size, np.uint8) * 127
    bits = pack_foreground(label)
    assert np.array_equal(unpack_foreground(bits, size[1]), label != 0) and bits.nbytes <= size[0] * (size[1] + 7) // 8


def test_nearest_is_pils():
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 255, (37, 50), np.uint8)
    for target in ((10, 13), (5, 50), (80, 90)):
        pil = np.array(Image.fromarray(values).resize(target[::-1], Image.Resampling.NEAREST))
        assert np.array_equal(nearest_centre(values, target), pil)


# --- files


def test_files_are_float16_and_equal_byte_by_byte(tmp_path, monkeypatch):
    maps = random_maps()
    extras = {"rest": np.ones((1, 2, 2), np.float32), "foreground": np.ones((4, 1), np.uint8)}
    for name, year in (("a", "2001"), ("b", "2030")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", year)
        write_cam(tmp_path / f"{name}.npz", [1, 3], [one.transpose(0, 2, 1) for one in maps], extras)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    stored = read_cam(tmp_path / "a.npz")
    assert stored.classes == (1, 3) and set(stored.extras) == {"rest", "foreground"}
    assert stored.extras["foreground"].dtype == np.uint8 and stored.extras["rest"].dtype == np.float32
    assert all(np.array_equal(one, other.transpose(0, 2, 1)) for one, other in zip(stored.maps, maps, strict=True))
    assert (tmp_path / "a.npz").stat().st_size < 2 * sum(one.size for one in maps) + 1800


@pytest.mark.parametrize("value, words", [(np.nan, "not finite"), (np.inf, "not finite"), (7e4, "65504")])
def test_what_a_diverged_network_says_is_not_written(tmp_path, value, words):
    maps = random_maps()
    maps[1][0, 0, 0] = value
    with pytest.raises(UserError, match=f"a.npz.*{words}.*diverged.*lower classifier.lr"):
        write_cam(tmp_path / "a.npz", [0, 3], maps)
    assert not list(tmp_path.iterdir())


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def arrays(**changes):
    """The arrays of a good file, with changes."""
    good = {"classes": np.array([0, 3], np.uint16), "level": np.zeros(2, np.float32), "map0": np.zeros((2, 3, 4), np.float16)}
    return {name: value for name, value in (good | changes).items() if value is not None}


BAD = {
    "pickle": lambda p: p.write_bytes(pickle.dumps(Bomb())),
    "object": lambda p: np.savez(p, **arrays(classes=np.array([Bomb()], dtype=object))),
    "plain": lambda p: np.save(open(p, "wb"), np.zeros((1, 2, 2), np.float16)),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("hello"),
    "no classes": lambda p: np.savez(p, **arrays(classes=None)),
    "no level": lambda p: np.savez(p, **arrays(level=None)),
    "no maps": lambda p: np.savez(p, **arrays(map0=None)),
    "float32": lambda p: np.savez(p, **arrays(map0=np.zeros((2, 3, 4), np.float32))),
    "a row short": lambda p: np.savez(p, **arrays(map0=np.zeros((1, 3, 4), np.float16))),
    "descending": lambda p: np.savez(p, **arrays(classes=np.array([3, 0], np.uint16))),
    "twice the same": lambda p: np.savez(p, **arrays(classes=np.array([3, 3], np.uint16))),
    "not finite": lambda p: np.savez(p, **arrays(map0=np.full((2, 3, 4), np.nan, np.float16))),
}


@pytest.mark.parametrize("what", BAD)
def test_foreign_files_are_refused_and_never_unpickled(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    BAD[what](tmp_path / "a.npz")
    with pytest.raises(UserError, match="a.npz: not a CAM of this workflow.*run the stage that writes it again"):
        read_cam(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


def test_damaged_and_missing_files(tmp_path):
    write_cam(tmp_path / "a.npz", [0, 3], random_maps())
    whole = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(UserError, match="b.npz: missing CAM; run the stage that writes it again"):
        read_cam(tmp_path / "b.npz")
    rng = np.random.default_rng(0)
    for _ in range(60):
        at = int(rng.integers(len(whole)))
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            (tmp_path / "a.npz").write_bytes(damaged)
            try:
                read_cam(tmp_path / "a.npz")  # a bit of a clock or an attribute of the archive changes nothing
            except UserError as error:
                assert "not a CAM" in str(error)


# --- whose classes


def test_rows_of_other_classes_are_refused(tmp_path):
    """A CAM of sofa (3) is never read as cat (0), whatever the labels say now."""
    for labels, words in (((0, 3), "cat, sofa"), ((1,), "dog"), ((), "")):
        cams, record = folder(tmp_path, random_maps(1), (3,), labels=labels)
        for read in (cams.at, cams.on_grid):
            with pytest.raises(UserError, match=rf"a.npz: holds classes \[sofa\], but its image is labelled \[{words}\]; run"):
                read(record, SIZE)
    cams, record = folder(tmp_path, random_maps(1), (7,))
    assert cams.at(record, SIZE).shape == (1, *SIZE)


def test_the_former_format_is_refused(tmp_path):
    old = {"geometry": "pad16", "norm": "max", "scales": [1.0], "ids": ["a"], "suffixes": [".npy"]}
    with pytest.raises(UserError, match="index.json: CAMs of the former format.*run: snakemake --force .*index.json"):
        CamFolder.of(tmp_path / "index.json", old)


def test_files_that_do_not_fit_their_index(tmp_path):
    cams, record = folder(tmp_path, random_maps()[:1])
    with pytest.raises(UserError, match="holds maps of 1 scales, its index says 2"):
        cams.at(record, SIZE)
    cams, record = folder(tmp_path, random_maps(), form="softmax")
    with pytest.raises(UserError, match="no map `rest`"):
        cams.at(record, SIZE)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("side", [96, 100, 104, 120, 375])
def test_cells_of_plain_cam_lie_where_they_look(stride, side):
    """Cells that hold where their middle is, read back at the photo's size: off by less than half a cell inside it."""
    spec = CAM.spec_for({"output_stride": stride})
    cells = -(-side // stride)
    row = ((np.arange(cells) + 0.5) * stride).astype(np.float16)
    maps = np.repeat(row[None, None], 4, 1)
    full = Form("sum", spec.geometry, "none").read(StoredCam((0,), (maps,)), (4 * stride, side), (4 * stride, side))[0, 0]
    inside = slice(stride, side - stride)
    assert np.abs(full - (np.arange(side) + 0.5))[inside].max() <= stride / 2
