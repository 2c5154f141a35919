"""The picture that moves the threshold: what it shows is what is above it, of methods whose maps differ."""

import io

import numpy as np
import pytest
from PIL import Image
from wsss.report import moving
from wsss.report.layers import write_layers

RAMP = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(30, 0)
PHOTO = np.full((30, 40, 3), 120, np.uint8)
TRUTH = np.where(RAMP > 0.5, 1, 0).astype(np.uint8)


def write(folder, method, item_id, cam, truth=TRUTH):
    path = folder / method / f"{item_id}.npz"
    columns = {"seed": np.zeros((30, 40), np.uint8), "ground_truth": truth} | ({} if cam is None else {"cam": cam[None]})
    write_layers(path, PHOTO, columns)
    return {item_id: str(path)}


def test_the_first_image_with_maps_that_differ(tmp_path):
    panels = {
        "cam": write(tmp_path, "cam", "val", None) | write(tmp_path, "cam", "a", RAMP),
        "irn": write(tmp_path, "irn", "a", RAMP),  # cam's
        "amn": write(tmp_path, "amn", "a", RAMP**2),
        "full": write(tmp_path, "full", "a", None),
    }
    assert moving.write_moving(tmp_path / "m.webp", panels) == ["cam", "amn"]
    with Image.open(tmp_path / "m.webp") as picture:
        count = (moving.TO - moving.FROM) // moving.STEP + 1
        assert picture.n_frames == 2 * count - 2 and picture.info["loop"] == 0
        size = picture.size
    with Image.open(tmp_path / "m.png") as still:
        assert still.size == size


def test_no_picture_where_there_is_one_map(tmp_path):
    panels = {"cam": write(tmp_path, "cam", "a", RAMP), "irn": write(tmp_path, "irn", "a", RAMP)}
    assert moving.write_moving(tmp_path / "m.webp", panels) == [] and not (tmp_path / "m.webp").exists()


@pytest.mark.parametrize("truth", [TRUTH, None])
def test_the_cut_moves_with_the_threshold(truth):
    cam = np.rint(255 * RAMP).astype(np.uint8)
    drawn = list(moving.frames(PHOTO, {"cam": cam, "amn": cam // 2}, truth))
    (height, width, _), tiles = drawn[0].shape, [frame[moving.BAR : moving.BAR + moving.TILE].astype(int) for frame in drawn]
    blue = [int((tile[..., 2] > tile[..., 0] + 40).sum()) for tile in tiles]
    assert blue == sorted(blue, reverse=True) and blue[0] > 2 * blue[-1]
    assert all(frame.shape == (height, width, 3) for frame in drawn)
    assert (height > moving.TILE + moving.CURVE) == (truth is not None)


def test_iou_leaves_ignored_pixels_out():
    truth = np.array([[1, 2, 0, 255]], np.uint8)
    assert moving.object_iou(np.array([[True, False, True, True]]), truth) == pytest.approx(1 / 3)
    assert moving.object_iou(np.zeros((1, 4), bool), np.zeros((1, 4), np.uint8)) == 0


def test_the_animation_is_small_and_the_same_twice():
    frames = list(moving.frames(PHOTO, {"cam": np.rint(255 * RAMP).astype(np.uint8)}, TRUTH))
    made = moving.animated(frames)
    assert made == moving.animated(frames) and len(made) < 200_000
    with Image.open(io.BytesIO(made)) as picture:
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("RGB"), int) - frames[3]).mean() < 8
