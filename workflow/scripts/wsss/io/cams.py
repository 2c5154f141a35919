"""CAM files: `{id}.npz`, what the network says of the classes an image has, one map a scale on the network's own grid.

`classes` (K,) uint16, foreground ids from 0, ascending; `map0`, `map1`, ... float16 (K, h, w), one a scale in the order
of the index's `scales`, over `level` (K,) float32; and what the form adds (wsss.io.cam_forms). Where the index says
`bg_map`, the maps of an image with labels are (K + 1, h, w), that of the background first, and so is its level. `CamFolder` resizes, adds and normalises at the
size that is asked for, and refuses rows that are not those of the image's labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wsss.engine.atomic import atomic_path
from wsss.engine.explain import for_people
from wsss.engine.recovery import after_divergence, remedy
from wsss.errors import UserError
from wsss.io.archives import NotAnArchive, read_arrays
from wsss.io.cam_forms import Form, StoredCam
from wsss.io.grids import walk_grid

SUFFIX = ".npz"


class Labelled(Protocol):
    """What a reader knows of an image: a record of the manifest."""

    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> tuple[int, ...]: ...


def write_cam(
    path: str | Path, classes: Sequence[int], maps: Iterable[np.ndarray], extras: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write a CAM atomically; equal content gives equal bytes (NumPy's archives carry no clock).

    Args:
        classes: K foreground ids from 0, ascending; K = 0 for an image without labels.
        maps: one (K, h, w) float a scale, or (K+1, h, w) with a background map first.
        extras: what the form adds, floats (stored as float16) or uint8.

    Raises:
        UserError: a value is not finite, or beyond float16.
    """
    maps = list(maps)
    level = lowest(maps)
    arrays = {"classes": np.asarray(classes, np.uint16), "level": level}
    arrays |= {f"map{n}": _half(one - level[:, None, None], path) for n, one in enumerate(maps)}
    for name, value in (extras or {}).items():
        arrays[name] = value if value.dtype == np.uint8 else _half(value, path)
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle, NumPy's option


def lowest(maps: Sequence[np.ndarray]) -> np.ndarray:
    """(K,) float32: what each row has everywhere, at least 0. Without it flat maps (SEAM's) keep their contrast in float16."""
    found = np.min([one.min(axis=(1, 2)) for one in maps], axis=0).astype(np.float32)
    return np.where(np.isfinite(found), found, 0).clip(0).astype(np.float32)


def _half(values: np.ndarray, path: str | Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values, np.float16)
    if not np.isfinite(half).all():
        what = for_people("beyond what float16 holds (65504)" if np.isfinite(values).all() else "that are not finite")
        raise UserError(f"{path}: not written, its maps have values {what}; {after_divergence('classifier')}; of a net of your own see whether seed_maps divides by 0")
    return half


def read_cam(path: str | Path) -> StoredCam:
    """Read a CAM file; float16 arrays come out as float32.

    Raises:
        UserError: missing, damaged, a pickle, or something else.
    """
    try:
        stored = _stored(read_arrays(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing CAM; {remedy(path)}") from error
    except (NotAnArchive, ValueError, LookupError) as error:
        raise UserError(f"{path}: not a CAM of this workflow ({error}); {remedy(path)}") from error
    return stored


def _stored(arrays: dict[str, np.ndarray]) -> StoredCam:
    """ValueError where the arrays are no CAM."""
    classes, level = arrays.pop("classes", np.zeros(0)), arrays.pop("level", np.zeros(0))
    if classes.dtype != np.uint16 or classes.ndim != 1 or (np.diff(classes.astype(int)) <= 0).any():
        raise ValueError("its classes are no ascending uint16 numbers")
    floats = {name: _single(value) for name, value in arrays.items() if value.dtype == np.float16}
    maps = [floats.pop(f"map{n}") for n in range(sum(name.startswith("map") for name in floats))]
    rows = len(classes) + (len(classes) > 0 and len(level) == len(classes) + 1)
    if not maps or any(one.ndim != 3 or len(one) != rows or 0 in one.shape[1:] for one in maps):
        raise ValueError(f"it has no maps of {len(classes)} classes in float16")
    if any(one.ndim != 3 or len(one) != 1 or 0 in one.shape for one in floats.values()):
        raise ValueError("its other maps are not (1, h, w)")
    bits = {name: value for name, value in arrays.items() if value.dtype == np.uint8}
    if level.shape != (rows,) or level.dtype != np.float32 or not np.isfinite(level).all():
        raise ValueError("its levels are no float32 numbers, one a map")
    if any(one.ndim != 2 for one in bits.values()):
        raise ValueError("its bits are not (H, ceil(W / 8))")
    return StoredCam(tuple(classes.tolist()), tuple(one + level[:, None, None] for one in maps), {**floats, **bits})


def _single(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    return values.astype(np.float32)


@dataclass(frozen=True)
class CamFolder:
    """The CAMs beside an index, read as the index says. `classes`: names of the dataset's foreground classes."""

    folder: Path
    form: Form
    classes: tuple[str, ...]

    @classmethod
    def of(cls, path: str | Path, index: dict[str, Any], mend: str | None = None) -> "CamFolder":
        """Of the index read from `path`; `mend`: what to do where it is none of CAMs, if not to make it again.

        Raises:
            UserError: the former format, or another form, geometry or norm than is known here.
        """
        index = index if isinstance(index, dict) else {}
        classes = index.get("classes")
        if "form" not in index or not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            what = for_people("CAMs of the former format (ID.npy, without class ids), or no CAMs at all, cannot be read")
            raise UserError(f"{path}: {what}; {mend or remedy(path)}")
        return cls(Path(path).parent, Form.of(path, index), tuple(classes))

    def at(self, record: Labelled, size_hw: tuple[int, int]) -> np.ndarray:
        """The CAM of an image at its size: (K, H, W) float32 in [0, 1], rows as `record.labels`.

        Raises:
            UserError: the file is missing or damaged, or is not of these labels.
        """
        return self.form.read(self._fitting(record, size_hw), size_hw, size_hw)

    def on_grid(self, record: Labelled, size_hw: tuple[int, int]) -> np.ndarray:
        """The same on the walk's stride-4 grid, (K, h, w)."""
        return self.form.read(self._fitting(record, size_hw), size_hw, walk_grid(size_hw))

    def both_at(self, record: Labelled, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """`at`, and the background map (H, W) float32 in [0, 1]; None where the method has none, or the image no labels."""
        return self.form.read_both(self._fitting(record, size_hw), size_hw, size_hw)

    def both_on_grid(self, record: Labelled, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """The same on the walk's stride-4 grid."""
        return self.form.read_both(self._fitting(record, size_hw), size_hw, walk_grid(size_hw))

    def _fitting(self, record: Labelled, size_hw: tuple[int, int]) -> StoredCam:
        """What the file holds. UserError where its bits are not of an image of that size."""
        stored = self.stored(record)
        bits, wanted = stored.extras.get("foreground"), (size_hw[0], -(-size_hw[1] // 8))
        if bits is not None and bits.shape != wanted:
            path = self.folder / f"{record.id}{SUFFIX}"
            raise UserError(f"{path}: is of an image of another size ({bits.shape} bits, not {wanted}); {remedy(path)}")
        return stored

    def stored(self, record: Labelled) -> StoredCam:
        """What the file holds. UserError where it is not of the record's labels."""
        path = self.folder / f"{record.id}{SUFFIX}"
        return self.checked(read_cam(path), record, path)

    def checked(self, stored: StoredCam, record: Labelled, path: Path) -> StoredCam:
        """`stored`, read from `path`. UserError where it is not of the record's labels, or not as the index says."""
        if stored.classes != tuple(record.labels):
            raise UserError(f"{path}: {self._difference(stored, record)}; {remedy(path)}")
        if fault := self.form.fault(stored):
            raise UserError(f"{path}: {fault}; {remedy(path)}")
        return stored

    def differences(self, records: Iterable[Labelled]) -> list[str]:
        """Files that are not of the labels of their records, in words."""
        pairs = ((read_cam(self.folder / f"{record.id}{SUFFIX}"), record) for record in records)
        differing = [(stored, record) for stored, record in pairs if stored.classes != tuple(record.labels)]
        return [for_people(f"{record.id}: {self._difference(stored, record)}") for stored, record in differing]

    def _difference(self, stored: StoredCam, record: Labelled) -> str:
        has, wants = self._named(stored.classes), self._named(record.labels)
        return for_people(f"holds classes {has}, but its image is labelled {wants}")

    def _named(self, classes: Iterable[int]) -> str:
        names = [self.classes[k] if k < len(self.classes) else f"number {k}" for k in classes]
        return f"[{', '.join(names)}]"
