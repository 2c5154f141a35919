import contextlib
import json
import os
import pickle
import traceback

import numpy as np
import pytest
import torch
from PIL import Image
from wsss.engine import atomic, index, journal, record
from wsss.errors import UserError
from wsss.io import cams, digest, images, masks, models

# --- atomic writes -------------------------------------------------------------------------------------


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_failed_write_keeps_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.json"
    atomic.write_json(target, {"old": 1})
    with pytest.raises(RuntimeError, match="halfway"):
        with atomic.atomic_path(target) as temp:
            temp.write_text("half a fi")
            raise RuntimeError("halfway")
    assert names(tmp_path) == ["a.json"] and json.loads(target.read_text()) == {"old": 1}


def test_unserialisable_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        atomic.write_json(tmp_path / "a.json", {"x": object()})
    assert names(tmp_path) == []


def test_json_of_equal_content_is_equal_bytes(tmp_path):
    atomic.write_json(tmp_path / "a", {"b": 1, "a": "ä"})
    atomic.write_json(tmp_path / "b", {"a": "ä", "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_never_seen_half_written(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic.atomic_path(target) as temp:
        temp.write_text("x")
        assert not target.exists() and temp.parent == target.parent
    assert target.read_text() == "x"


def on_a_full_disk(target):
    """Make the next atomic write of `target` hit a full device: its temporary name leads to /dev/full."""
    (target.parent / f".{target.name}.{os.getpid()}.tmp").symlink_to("/dev/full")


def full_disk_writes():
    label, cam, net = np.zeros((64, 64), np.uint8), np.ones((1, 64, 64), np.float32), torch.nn.Linear(64, 64)
    return {
        "text": lambda p: atomic.write_text(p, "x" * 10_000),
        "json": lambda p: atomic.write_json(p, list(range(10_000))),
        "mask": lambda p: masks.write_mask(p, label),
        "cam": lambda p: cams.write_cam(p, [0], [cam]),
        "index": lambda p: index.write_index(p.parent, {f"{i}": "0" for i in range(2000)}, [".npy"]),
        "model": lambda p: models.save_model(p, net),
        "history": lambda p: models.write_history(p, [{"step": i, "total": 1.0} for i in range(2000)]),
        "run": lambda p: record.RunRecord("x", {"a": "b" * 10_000}).write(p),
    }


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="no /dev/full on this system to stand for a full disk"
)
@pytest.mark.parametrize("kind", full_disk_writes())
def test_full_disk_is_named_and_nothing_stays(tmp_path, kind):
    target = tmp_path / ("index.json" if kind == "index" else "file")
    on_a_full_disk(target)
    with pytest.raises(UserError, match=f"{target.name}.*disk is full"):
        full_disk_writes()[kind](target)
    assert names(tmp_path) == []


def in_a_child(function, uid=None):
    """Run `function` in a forked process, as another user if asked; returns what it returns as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            text = str(function())
        except BaseException:
            text = traceback.format_exc()
        with contextlib.suppress(OSError):
            os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as handle:
        text = handle.read()
    os.waitpid(pid, 0)
    return text


def test_read_only_folder_is_a_user_error(tmp_path):
    for parent in [tmp_path, *tmp_path.parents][:3]:  # another user has to reach the folder
        parent.chmod(parent.stat().st_mode | 0o055)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)

    def write():
        try:
            atomic.write_text(locked / "a.txt", "x")
        except UserError as error:
            return error
        return "was written"

    text = in_a_child(write, uid=65534 if os.getuid() == 0 else None)
    locked.chmod(0o755)
    assert "no permission to write" in text and "a.txt" in text and "Traceback" not in text
    assert names(locked) == []


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="results"):
        atomic.write_text(tmp_path / "results" / "a.txt", "x")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="a.json.*not valid JSON"):
        atomic.read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match="a.json: missing"):
        atomic.read_json(tmp_path / "a.json")


# --- masks ---------------------------------------------------------------------------------------------


def test_voc_palette_is_the_published_one():
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: tuple(map(int, masks.VOC_PALETTE[i])) for i in known} == known
    assert len(np.unique(masks.VOC_PALETTE, axis=0)) == 256


@pytest.mark.parametrize("shape", [(1, 1), (33, 200), (64, 3)])
def test_mask_round_trip(tmp_path, shape):
    label = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    masks.write_mask(tmp_path / "m.png", label)
    assert np.array_equal(masks.read_mask(tmp_path / "m.png"), label)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P" and np.array_equal(np.array(image.convert("RGB")), masks.VOC_PALETTE[label])


def test_transposed_label_is_written_as_it_is_seen(tmp_path):
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    masks.write_mask(tmp_path / "m.png", label.T)
    assert np.array_equal(masks.read_mask(tmp_path / "m.png"), label.T)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "1"])
def test_masks_that_hold_no_class_ids_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="m.png.*mode"):
        masks.read_mask(tmp_path / "m.png")


def test_missing_and_truncated_mask(tmp_path):
    with pytest.raises(UserError, match="m.png: missing mask; restore it, or run the stage"):
        masks.read_mask(tmp_path / "m.png")
    masks.write_mask(tmp_path / "m.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:1500])
    with pytest.raises(UserError, match="m.png.*not a readable mask.*; restore it, or run the stage"):
        masks.read_mask(tmp_path / "m.png")


# --- images --------------------------------------------------------------------------------------------

GRADIENT = np.stack(np.meshgrid(np.arange(0, 240, 10), np.arange(0, 160, 10)), -1).astype(np.uint8)
RGB = np.concatenate([GRADIENT, np.full((16, 24, 1), 77, np.uint8)], axis=2)


def saved(tmp_path, image, name="i.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_rgb_comes_back_as_it_is(tmp_path):
    assert np.array_equal(images.read_image(saved(tmp_path, Image.fromarray(RGB))), RGB)


def test_gray_is_repeated(tmp_path):
    read = images.read_image(saved(tmp_path, Image.fromarray(RGB[..., 0])))
    assert np.array_equal(read, np.repeat(RGB[..., :1], 3, axis=2))


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB).convert("CMYK"), "i.jpg", quality=100)
    read = images.read_image(path)
    assert read.shape == RGB.shape and np.abs(read.astype(int) - RGB).max() < 12


def test_rgba_lies_on_white(tmp_path):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[0, 0, 3] = 0
    read = images.read_image(saved(tmp_path, Image.fromarray(rgba)))
    assert (read[0, 0] == 255).all() and np.array_equal(read[1:], RGB[1:])


def test_palette_and_bilevel(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8))
    palette.putpalette(masks.VOC_PALETTE.tobytes())
    assert images.read_image(saved(tmp_path, palette))[0, 1].tolist() == [128, 0, 0]
    assert images.read_image(saved(tmp_path, Image.new("1", (2, 2), 1)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    deep = (RGB[..., 0].astype(np.uint16) * 257)[:, ::-1].copy()
    read = images.read_image(saved(tmp_path, Image.fromarray(deep), f"i.{suffix}"))
    assert np.array_equal(read[..., 0], RGB[:, ::-1, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_image_and_size(tmp_path, orientation):
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    path = saved(tmp_path, image, exif=exif)
    turned = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1), 7: np.rot90(RGB, 2).transpose(1, 0, 2), 8: np.rot90(RGB),
    }  # fmt: skip
    assert np.array_equal(images.read_image(path), turned[orientation])
    assert images.image_size(path) == turned[orientation].shape[:2]


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000), (2000, 1)])
def test_odd_sizes(tmp_path, size_hw):
    path = saved(tmp_path, Image.new("RGB", size_hw[::-1], (1, 2, 3)))
    assert images.read_image(path).shape == (*size_hw, 3) and images.image_size(path) == size_hw


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_image(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), f"i.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"i.{suffix}.*not a readable image"):
        images.read_image(path)


@pytest.mark.parametrize("read", [images.read_image, images.image_size])
def test_empty_missing_and_foreign_files(tmp_path, read):
    with pytest.raises(UserError, match="none.jpg: missing image"):
        read(tmp_path / "none.jpg")
    for name, content in {"empty.jpg": b"", "text.jpg": b"not a photo"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.*not a readable image"):
            read(tmp_path / name)


def test_a_folder_in_an_images_place(tmp_path):
    with pytest.raises(UserError, match="not a readable image"):
        images.read_image(tmp_path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


# --- index and journal ---------------------------------------------------------------------------------


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


# --- models --------------------------------------------------------------------------------------------


def test_model_round_trip_with_facts(tmp_path):
    net, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    models.save_model(tmp_path / "m.safetensors", net, params={"lr": 0.1})
    assert models.load_model(tmp_path / "m.safetensors", other) == {"params": {"lr": 0.1}}
    assert torch.equal(net.weight, other.weight) and torch.equal(net.bias, other.bias)


def test_channels_last_and_shared_tensors_are_stored(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Conv2d(2, 2, 3)).to(
        memory_format=torch.channels_last
    )
    net[1].weight = net[0].weight
    models.save_model(tmp_path / "m.safetensors", net)
    other = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Conv2d(2, 2, 3))
    models.load_model(tmp_path / "m.safetensors", other)
    assert torch.equal(other[0].weight, net[0].weight) and torch.equal(other[1].weight, net[0].weight)


def test_model_bytes_repeat(tmp_path):
    net = torch.nn.Linear(3, 2)
    for name in "ab":
        models.save_model(tmp_path / name, net, params={"z": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "other", [torch.nn.Linear(3, 4), torch.nn.Linear(3, 2, bias=False), torch.nn.Conv2d(1, 1, 1)]
)
def test_another_network_is_refused(tmp_path, other):
    models.save_model(tmp_path / "m.safetensors", torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match="m.safetensors: holds another network"):
        models.load_model(tmp_path / "m.safetensors", other)


def test_damaged_and_missing_models(tmp_path):
    path = tmp_path / "m.safetensors"
    models.save_model(path, torch.nn.Linear(3, 2))
    whole = path.read_bytes()
    for content in (whole[:-4], whole[:20], b"", pickle.dumps(Bomb())):
        path.write_bytes(content)
        with pytest.raises(UserError, match="m.safetensors: not a readable model"):
            models.load_model(path, torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match="none: not a readable model"):
        models.load_model(tmp_path / "none", torch.nn.Linear(3, 2))


def test_history_columns_and_numbers(tmp_path):
    models.write_history(
        tmp_path / "h.csv", [{"step": 0, "lr": 0.1, "total": 2.0}, {"step": 1, "lr": 0.05, "total": 1 / 3}]
    )
    assert (tmp_path / "h.csv").read_text() == "step,lr,total\n0,0.1,2\n1,0.05,0.33333333\n"
