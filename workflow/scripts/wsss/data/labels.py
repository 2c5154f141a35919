"""Which classes and image labels per-image files were made of: what their index says, and whether it still holds."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss.data.manifest import Dataset, Record
from wsss.data.table import listing
from wsss.digest import fingerprint, sha256_file
from wsss.engine.explain import for_people
from wsss.engine.index import read_index
from wsss.engine.recovery import remedy
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.io.cams import CamFolder
from wsss.io.images import unreadable


def label_facts(dataset: Dataset) -> dict[str, Any]:
    """For an index: the class list, and a digest over id and labels of all training images."""
    labels = sorted((record.id, list(record.labels)) for record in dataset.split("trainaug"))
    return {"classes": list(dataset.classes), "labels": fingerprint(labels)}


def import_facts(dataset: Dataset) -> dict[str, Any]:
    """`label_facts`, and of each training image the first digits of its photo's sha256: files from outside belong to these very photos."""
    records = dataset.split("trainaug")
    return {**label_facts(dataset), "photos": dict(zip((r.id for r in records), _photo_digests(records), strict=True))}


def refuse_other_photos(path: str | Path, index: Mapping[str, Any], records: Iterable[Record]) -> None:
    """UserError where a photo is not the one that the imported files beside the index at `path` were made of."""
    known = index.get("photos", {})
    records = [record for record in records if record.id in known]
    changed = [r.id for r, digest in zip(records, _photo_digests(records), strict=True) if known[r.id] != digest]
    if changed:
        words = for_people("these photos have changed since it was imported, so its files may be of other pictures")
        raise UserError(listing(f"{path}: {words}; {remedy(path)}", [for_people(f"{name}: another photo") for name in changed]))


def _photo_digests(records: Iterable[Record]) -> list[str]:
    return list(threaded(_photo_digest, (record.image for record in records)))


def _photo_digest(path: Path) -> str:
    try:
        return sha256_file(path)[:16]
    except OSError as error:
        raise unreadable(path, error) from error


def same_labels(path: str | Path, index: Mapping[str, Any], dataset: Dataset, mend: str | None = None) -> bool:
    """Whether the index read from `path` was made of these labels.

    Args:
        mend: what to do otherwise, where the files are a user's choice; None: make them again.

    Raises:
        UserError: of another class list: then no number in the files means what it should. Or it says of none.
    """
    facts = label_facts(dataset)
    if "labels" not in index:
        _refuse_unsaid(path, mend or remedy(path))
    require_classes(path, index, dataset.classes, dataset.name, mend or remedy(path))
    return index["labels"] == facts["labels"]


def require_classes(path: str | Path, facts: Mapping[str, Any], classes: Sequence[str], dataset: str, again: str) -> None:
    """UserError where the file at `path`, which holds `facts`, is not by `classes`, those of `dataset`; `again` makes it anew."""
    if "classes" not in facts:
        _refuse_unsaid(path, again)
    if facts["classes"] != list(classes):
        was, now = (", ".join(some) for some in (facts["classes"], classes))
        raise UserError(f"{path}: made of the classes {was}; {dataset} has {now}; {again}")


def require_trained_on(path: str, facts: Mapping[str, Any], classes: Sequence[str], dataset: str) -> None:
    """UserError where the network at `path`, which says `facts`, was trained, or imported, on another class list than the dataset's."""
    if "classes" in facts or "imported" in facts:  # networks of the first versions did not say
        again = f"run: {facts['remake']}" if "remake" in facts else remedy(path)
        require_classes(path, facts, classes, dataset, again)


def _refuse_unsaid(path: str | Path, again: str) -> None:
    what = for_people("does not say what classes and labels it was made of")
    raise UserError(f"{path}: {what}, and class numbers may mean others now; {again}")


def cams_of(path: str | Path, records: Iterable[Record], dataset: Dataset, mend: str | None = None) -> CamFolder:
    """The CAMs beside the index at `path`, checked to hold every record, of its labels, in a way that is known here.

    Args:
        mend: as of `same_labels`.

    Raises:
        UserError: ids or files are missing, or of other labels; names the command that makes them again.
    """
    records = list(records)
    index = read_index(path, [record.id for record in records])
    cams = CamFolder.of(path, index, mend)
    refuse_other_photos(path, index, records)
    if not same_labels(path, index, dataset, mend) and (found := cams.differences(records)):
        raise UserError(listing(f"{path}: not of the dataset's labels; {mend or remedy(path)}", found))
    return cams


def refuse_other_labels(path: str | Path) -> None:
    """UserError for files that do not say their classes themselves."""
    raise UserError(f"{path}: the training images or their labels have changed since it was imported; {remedy(path)}")
