"""The command behind `workflow/scripts/import_cams.py`: a folder of other people's CAMs becomes a stage `cam` of ours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.copies import Original, copy_words, originals
from wsss.data.labels import import_facts, same_labels
from wsss.data.manifest import Dataset, Record
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.imports.command_line import Target, dataset_of, find_files, parser, run
from wsss.io.cam_forms import UNKNOWN_SCALES, StoredCam
from wsss.io.cams import SUFFIX, CamFolder, read_cam, write_cam
from wsss.io.grids import walk_grid
from wsss.io.images import image_size
from wsss.io.pickle_arrays import ARRAYS
from wsss.io.pickle_tensors import TENSORS
from wsss.io.pickles import NOTE, load_object

REACHED = 0.99  # maps whose maximum is that high were normalised by it
SLACK = 1e-3  # what rounding may put outside [0, 1]
NORMALISE = "normalise the maps to [0, 1], or say with --scale what they were multiplied with; where no pixel is meant, write 0"
NAMES = {**ARRAYS, **TENSORS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    made = parser("Import a folder of CAMs, one pickled dict ID.npy an image (or CAMs of this workflow).", NOTE)
    made.add_argument("source", type=Path, help="folder of ID.npy files, or of this workflow's CAMs")
    made.add_argument("--name", required=True, help="what recipes call the import: `cam: {import: NAME}`")
    made.add_argument("--scale", type=float, default=1.0, help="what the maps were multiplied with (CPN's released code: 0.5)")
    made.add_argument("--norm", choices=("max", "none"), help="max: readers divide each map by its maximum; default: by the maps")
    return run(lambda o: import_cams(o.source, o.dataset, o.name, o.scale, o.norm), made.parse_args(arguments))


def import_cams(source: Path, dataset: str, name: str, scale: float = 1.0, norm: str | None = None) -> str:
    """Fill `imports/DATASET/NAME/cam`; returns what was done, in words.

    Raises:
        UserError: images without a file, and all files that are no CAMs of their image.
    """
    if not 0 < scale <= 1:
        raise UserError(f"--scale {scale}: must be above 0 and at most 1")
    source = source.parent if source.name == "index.json" else source
    held, own = dataset_of(dataset), source / "index.json"
    if own.is_file() and (scale != 1 or norm):
        raise UserError(f"{own}: says how these CAMs are read; --scale and --norm are for folders without an index")
    reader = OwnFolder(own, held) if own.is_file() else PickledFolder(scale, originals(Path("results", dataset), held))
    records = held.split("trainaug")
    labelled = [r for r in records if r.labels]  # the field writes no maps for the others, and there are none
    sources = find_files(source, labelled, reader.suffix)
    target = Target(dataset, name, "cam", source)

    def convert(record: Record) -> None:
        found = reader.read(record, sources[record.id]) if record.labels else StoredCam((), tuple(reader.nothing(record)))
        write_cam(target.making / f"{record.id}{SUFFIX}", found.classes, found.maps, found.extras)

    target.fill(records, convert)
    if labelled and isinstance(reader, PickledFolder) and not reader.any_value:
        raise target.refused(f"{source}: all maps of all images are zero, so all would be background; give the CAMs as the network made them")
    facts = reader.facts(norm)
    target.options = reader.options(facts)
    ids = [r.id for r in records]
    sha256 = target.seal(ids, sources, SUFFIX, reader.layout, **facts, **import_facts(held))
    how = f"{len(records)} CAMs ({reader.layout}; {NOTE}), stored with norm {facts['norm']}"
    return target.told(sha256, f"{source}: {how}")


class OwnFolder:
    """CAMs of this workflow beside their index."""

    layout, suffix = "this workflow's layout", SUFFIX

    def __init__(self, index: Path, dataset: Dataset) -> None:
        self.content = read_json(index, "copy the folder again from where it was made")
        mend = f"give CAMs of {dataset.name}"
        self.folder = CamFolder.of(index, self.content, mend)
        same_labels(index, self.content, dataset, mend)  # of the same classes; labels are compared file by file

    def read(self, record: Record, path: Path) -> StoredCam:
        """What the file holds. UserError where it is not of the image's labels."""
        return self.folder.checked(read_cam(path), record, path)

    def nothing(self, record: Record) -> list[np.ndarray]:
        """The maps of an image without labels, one a scale."""
        scales = self.content.get("scales")
        return [np.zeros((0, 1, 1), np.float32)] * (len(scales) if isinstance(scales, list) else 1)

    def facts(self, norm: str | None) -> dict[str, Any]:
        """What the index says of the maps."""
        return {key: self.content[key] for key in ("form", "geometry", "norm", "scales", "bg_map") if key in self.content}

    def options(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Of the command that imports again."""
        return ()


@dataclass
class PickledFolder:
    """Pickled dicts: {"keys", "cam", "high_res"} (IRN, AMN) or {class: (H, W) map} (EPS, SEAM, CPN), classes from 0.

    AMN's maps have a row more than keys, the background, which comes first and is left out, as all its readers do.
    """

    scale: float
    copied: dict[str, Original] = field(default_factory=dict)  # by id, of photos that stages work on in a smaller copy
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)  # id -> layout, lowest maximum of a map that is not 0
    suffix = ".npy"
    any_value: bool = False  # whether any map is not zero all over

    @property
    def layout(self) -> str:
        """Of the files seen so far, in words."""
        return " and ".join(sorted({layout for layout, _ in self.seen.values()})) or "no maps"

    def read(self, record: Record, path: Path) -> StoredCam:
        """The maps at full height, rows in the order of the record's labels, on the grid they came on.

        That is the image's where the file has it: at half its resolution 0.3 to 1.5 % of the seed pixels would be
        others (the peak, which everything is divided by, is lowered), at full size in float16 0.02 %.
        """
        size = image_size(record.image)
        original = self.copied.get(record.id)
        mend = f"{copy_words(original)}: make CAMs of {record.image}, or set `long_side: null` for the dataset" if original else ""
        keys, maps, layout = unpack(load_object(path, "a CAM file", NAMES), size, path, mend)
        if sorted(keys) != list(record.labels):
            raise UserError(
                f"{path}: has classes {shown(sorted(keys))}, its image the labels {list(record.labels)} (both from 0, background not counted)"
            )
        maps = _bounded(maps[np.argsort(keys)] / self.scale, path, self.scale)
        _refuse_vanishing(maps, record.labels, path)
        self.any_value = self.any_value or bool(maps.any())
        self.seen[record.id] = layout, min((float(peak) for peak in maps.max(axis=(1, 2)) if peak > 0), default=1.0)
        return StoredCam(record.labels, (maps,))

    def nothing(self, record: Record) -> list[np.ndarray]:
        """The map of an image without labels."""
        return [np.zeros((0, *walk_grid(image_size(record.image))), np.float32)]

    def facts(self, norm: str | None) -> dict[str, Any]:
        """What the index says of the maps; without `norm` they decide: normalised ones stay so after resizing."""
        lowest = min((peak for _, peak in self.seen.values()), default=1.0)
        norm = norm or ("max" if lowest >= REACHED else "none")
        return {"form": "sum", "geometry": "stretch", "norm": norm, "scales": UNKNOWN_SCALES}

    def options(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Of the command that imports again."""
        return ("--scale", f"{self.scale:g}", "--norm", facts["norm"])


def unpack(table: Any, size: tuple[int, int], path: Path, mend: str = "") -> tuple[list[int], np.ndarray, str]:
    """Classes from 0, maps (K, h, w) float32 on the walk's grid or at image size, and the layout, in words.

    Args:
        mend: what to say after the size that was wanted.

    Raises:
        UserError: neither layout, or maps of another image.
    """
    if isinstance(table, dict) and "keys" in table:
        return _with_keys(table, size, path, mend)
    if isinstance(table, dict) and table and all(_is_class(key) for key in table):
        if len({id(value) for value in table.values()}) < len(table):  # a small file could ask for any number of them
            raise UserError(f"{path}: gives several classes one map")
        maps = [_array(value, path) for value in table.values()]
        if any(one.shape != size for one in maps):
            shapes = shown([one.shape for one in maps]).strip("[]")
            raise UserError(f"{path}: maps of {shapes}, but the image is {size} (height, width){mend}")
        return [int(key) for key in table], np.stack(maps), "{class: map} dicts"
    raise UserError(f'{path}: holds neither {{"keys", "cam", "high_res"}} nor {{class: map}} with classes from 0')


def _with_keys(table: dict, size: tuple[int, int], path: Path, mend: str) -> tuple[list[int], np.ndarray, str]:
    """`high_res` where it has the image's size, else `cam` on the walk's grid."""
    numbers = _array(table["keys"], path).reshape(-1)
    if not (np.abs(numbers) < 2**24).all() or (numbers % 1).any():  # false for nan too
        raise UserError(f"{path}: its keys are no class numbers")
    keys = numbers.astype(int).tolist()
    wanted = {"high_res": size, "cam": walk_grid(size)}
    there = {name: _array(table[name], path) for name in wanted if table.get(name) is not None}
    for name, maps in there.items():
        if maps.ndim == 3 and maps.shape[1:] == wanted[name] and len(maps) in (len(keys), len(keys) + 1):
            has_background = len(maps) > len(keys)
            layout = '{"keys", "cam", "high_res"} dicts' + " with a background row" * has_background
            return keys, maps[int(has_background) :], layout
    found = ", ".join(f"{name} {maps.shape}" for name, maps in there.items()) or "no maps"
    raise UserError(
        f"{path}: {len(keys)} keys and {found}, but the image wants cam (K, {wanted['cam'][0]}, {wanted['cam'][1]}) "
        f"or high_res (K, {size[0]}, {size[1]}){mend}"
    )


def _is_class(key: Any) -> bool:
    return isinstance(key, int | np.integer) and not isinstance(key, bool)


def _array(value: Any, path: Path) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise UserError(f"{path}: holds {found} where an array of numbers is expected")
    with np.errstate(over="ignore", under="ignore"):  # what is beyond float32 is found out with the other values
        single = value.astype(np.float32)
    if value.ndim > 1 and (value.any((-2, -1)) & ~single.any((-2, -1))).any():
        raise UserError(f"{path}: has a map whose values are so small that float32 holds none of them; {NORMALISE}")
    return single


def shown(values: Sequence) -> str:
    """The first few, for a message of one line."""
    return f"{list(values[:8])}"[:-1] + (", ...]" if len(values) > 8 else "]")


def _refuse_vanishing(maps: np.ndarray, labels: Sequence[int], path: Path) -> None:
    """UserError where a map (of K, h, w) would be stored as zeros, and is none. A flat one is kept: write_cam stores its level apart."""
    for label, one in zip(labels, maps, strict=True):
        if (peak := one.max()) > one.min() and np.float16(peak) == 0:
            raise UserError(f"{path}: the map of class {label} has values up to {peak:g} only, and float16, in which CAMs are stored, holds none below 6e-08; {NORMALISE}")


def _bounded(maps: np.ndarray, path: Path, scale: float) -> np.ndarray:
    """`maps`, with what rounding put outside [0, 1] cut. UserError where more lies outside, or is not finite."""
    low, high = (maps.min(initial=0), maps.max(initial=0)) if np.isfinite(maps).all() else (math.nan, math.nan)
    by = f" when divided by --scale {scale:g}" if scale != 1 else ""
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise UserError(f"{path}: values from {low:g} to {high:g}{by}; CAMs are normalised to [0, 1]")
    return maps.clip(0, 1)
