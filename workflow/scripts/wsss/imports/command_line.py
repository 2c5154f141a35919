"""What the import commands share: arguments, the dataset they check against, the folder they fill, messages."""

import argparse
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss.data.coco_labels import any_number
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.table import listing
from wsss.digest import fingerprint, sha256_file
from wsss.engine.atomic import explain_os_errors, read_json
from wsss.engine.command import ended
from wsss.engine.index import write_index
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.plan.paths import INDEX, import_folder
from wsss.recipes.schema import check

LOSSY = {".jpg", ".jpeg"}
NAME = {"type": "string", "pattern": r"^[a-z0-9_]+\Z"}


def parser(description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser with the two arguments that all commands have."""
    made = argparse.ArgumentParser(description=description, epilog=epilog)
    made.add_argument("--dataset", required=True, help="name of a file in config/datasets; its manifest is read")
    return made


def run(action: Callable[[argparse.Namespace], str], options: argparse.Namespace) -> int:
    """Do it and say what was done; 0 where all is well, 1 with plain words on stderr where the user can mend it."""

    def done() -> None:
        for name in ("dataset", "name"):
            given = getattr(options, name, "x")
            if os.sep in given:
                raise UserError(f"--{name} {given}: give the name alone, {Path(given).name}")
            check(given, NAME, f"--{name}")
        print(action(options))

    return ended(done)


def dataset_of(name: str) -> Dataset:
    """The dataset as built below the working directory.

    Raises:
        UserError: it is not built yet; says how.
    """
    path = Path("results", name, "manifest.csv")
    if not path.is_file():
        raise UserError(f"{path}: missing, and the import is checked against it; make it first: snakemake {path}")
    return load_manifest(path)


def find_files(source: Path, records: Sequence[Record], suffix: str) -> dict[str, Path]:
    """Id -> file of each record in a folder, COCO's in any form of their ids.

    Raises:
        UserError: not a folder, or it lacks files; names the ids, and what is there instead where no file has the suffix.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; give the folder of ID{suffix} files")
    found = {r.id: path for r in records if (path := source / f"{r.id}{suffix}").is_file()}
    lacking = [r.id for r in records if r.id not in found and COCO_ID.fullmatch(r.id)]
    if lacking:
        numbers = _by_number(source, suffix, {r.id for r in records})
        found |= {i: numbers[any_number(i)][0] for i in lacking if len(numbers.get(any_number(i), ())) == 1}
    missing = [r.id for r in records if r.id not in found]
    if missing:
        other = _other_files(source, suffix)
        raise UserError(listing(f"{source}: {len(missing)} of {len(records)} training images have no file here{other}", missing))
    return found


def _other_files(source: Path, suffix: str) -> str:
    """What a folder without any file of this suffix holds instead, for a message; empty where some file has it."""
    there = Counter("folders" if path.is_dir() else path.suffix or "files without a suffix" for path in source.iterdir())
    if suffix in there:
        return ""
    held = ", ".join(f"{count} {kind}" for kind, count in there.most_common(3)) or "nothing"
    lossy = "; masks are PNG, since JPEG changes label values: " if suffix == ".png" and LOSSY & {kind.lower() for kind in there} else "; "
    return f"; it holds {held}{lossy}give ID{suffix} files"


COCO_ID = re.compile(r"(COCO_(train|val)2014_)?\d{12}")  # elsewhere 1 and 01 are two images


def _by_number(source: Path, suffix: str, ids: set[str]) -> dict[int | None, list[Path]]:
    """Number of a COCO image -> the files that may be its, those left out that are of an id itself."""
    numbers: dict[int | None, list[Path]] = {}
    for path in source.glob(f"*{suffix}"):
        stem = path.name.removesuffix(suffix)
        if stem not in ids and any_number(stem) is not None:
            numbers.setdefault(any_number(stem), []).append(path)
    return numbers


@dataclass
class Target:
    """The folder that an import fills, `imports/DATASET/NAME/STAGE`."""

    dataset: str
    name: str
    stage: str
    source: Path
    options: tuple[str, ...] = ()  # that shaped what was imported

    @property
    def folder(self) -> Path:
        """Below the working directory."""
        return Path(import_folder(self.dataset, self.name, self.stage))

    @property
    def making(self) -> Path:
        """Where the files are made: what is in `folder` stays until all of them are."""
        return self.folder.with_name(f".{self.folder.name}.{os.getpid()}.tmp")

    def fill(self, records: Iterable[Record], convert: Callable[[Record], None]) -> None:
        """Let `convert` write the file of every record into `making`; nothing in `folder` changes until `seal`.

        Raises:
            UserError: files that cannot be imported, all of them at once; or the folder holds files of the user's.
        """
        self._refuse_strangers()
        for left in self.folder.parent.glob(f".{self.folder.name}.*.tmp"):  # by a killed import
            shutil.rmtree(left, ignore_errors=True)
        problems = [problem for problem in threaded(lambda r: _attempt(convert, r), records) if problem]
        if problems:
            raise self.refused(listing(f"{self.source}: not imported; mend these", problems))

    def refused(self, words: str) -> UserError:
        """The error to raise; what was made so far goes."""
        shutil.rmtree(self.making, ignore_errors=True)
        return UserError(words)

    def seal(self, ids: Iterable[str], sources: dict[str, Path], suffix: str, layout: str, **facts: Any) -> str:
        """Write the index, with the digest over all source files, and put all in place; returns that digest."""
        ids = list(ids)
        shown = dict(zip(ids, threaded(lambda i: [sha256_file(self.making / f"{i}{suffix}")], ids), strict=True))
        sha256 = fingerprint(sorted((i, sha256_file(path)) for i, path in sources.items()))
        origin = {"source": self.source.absolute().name, "sha256": sha256, "layout": layout}
        write_index(self.making, shown, [suffix], imported=origin, remake=self.command(), **facts)
        former = self.making.with_suffix(".former.tmp")
        with explain_os_errors(self.folder):
            if self.folder.exists():
                os.rename(self.folder, former)
            os.rename(self.making, self.folder)
        shutil.rmtree(former, ignore_errors=True)
        return sha256

    def former(self) -> dict[str, Any]:
        """The index of an import that is in place; {} where there is none.

        Raises:
            UserError: it is damaged, or a file stands in the folder's place: whose they are nothing tells.
        """
        path, mend = self.folder / INDEX, f"move {self.folder} away, or give another --name"
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: a file stands where the import's folder would be; {mend}")
        try:
            index = read_json(path) if path.is_file() else {"ids": [], "suffixes": []}
        except UserError:
            index = None
        if not isinstance(index, dict) or not all(isinstance(index.get(key), list) for key in ("ids", "suffixes")):
            raise UserError(f"{path}: damaged, so it does not say which files an import put there; {mend}")
        return index

    def _refuse_strangers(self) -> None:
        """UserError where the folder, which is replaced as a whole, holds what no import put there."""
        index = self.former()
        ours = {f"{i}{suffix}" for i in index["ids"] for suffix in index["suffixes"]} | {INDEX}
        there = sorted(set(os.listdir(self.folder)) - ours) if self.folder.is_dir() else []
        if there:
            some = ", ".join(there[:5]) + (" ..." if len(there) > 5 else "")
            raise UserError(
                f"{self.folder}: is replaced by the import, and holds files that none put there ({some}); move them away, or give another --name"
            )

    def command(self) -> str:
        """What fills the folder again."""
        script = "import_cams.py" if self.stage == "cam" else "import_masks.py"
        stage = "" if self.stage == "cam" else f" --stage {self.stage}"
        words = " ".join(("", *self.options))
        return f"python workflow/scripts/{script} FOLDER{stage} --dataset {self.dataset} --name {self.name}{words}"

    def told(self, sha256: str, *lines: str) -> str:
        """What the command prints."""
        recipe = f"in a recipe: `{self.stage}: {{import: {self.name}}}`"
        return "\n".join([*lines, f"sha256 over the files of {self.source}: {sha256}", f"{self.folder}: ready; {recipe}"])


def _attempt(convert: Callable[[Record], None], record: Record) -> str | None:
    try:
        convert(record)
    except UserError as error:
        return str(error)
    return None
