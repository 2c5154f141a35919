"""Where the files of a user's own folder are: what a row of the CSV names, and what may have been meant."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

from wsss.data.class_names import plain
from wsss.data.photos import SUFFIXES
from wsss.data.text import of_windows, shown
from wsss.errors import UserError
from wsss.io.folders import files_below


@dataclass(frozen=True)
class Source:
    """Where things are and what is allowed; `beside` is the CSV's own folder, `classes` None = any."""

    images: Path
    beside: Path
    masks: Path | None
    saliency: Path | None
    classes: tuple[str, ...] | None
    allow_unlabelled: bool

    @cached_property
    def by_name(self) -> dict[str, str]:
        """File name in small letters -> path below `images`, of one photo that is called so."""
        try:
            paths = list(files_below(self.images, hidden=False))
        except UserError:  # what could have been a hint is no error of its own
            return {}
        return {os.path.basename(path).casefold(): os.path.relpath(path, self.images) for path in paths}

    @cached_property
    def by_plain_name(self) -> dict[str, str]:
        """The same by the composed form of the name."""
        return {plain(name): path for name, path in self.by_name.items()}

    @cached_property
    def by_number(self) -> dict[str, str]:
        """The same of photos that are called by a number, by that without zeros before it; "" is 0."""
        stems = ((name.partition(".")[0], path) for name, path in self.by_name.items())
        return {stem.lstrip("0"): path for stem, path in stems if stem.isdigit()}


def source_of(params: dict[str, Any]) -> Source:
    """What `wsss.data.folder.build` is given, looked at.

    Raises:
        UserError: a folder is missing.
    """
    folders = {key: path_of(params[key]) for key in ("images", "masks", "saliency") if params.get(key)}
    for key, folder in folders.items():
        if not os.path.isdir(folder):
            raise UserError(f"{folder}: is not a folder; mend `{key}` in the dataset's config{of_windows(folder)}{_of_yaml(str(params[key]))}")
    classes = tuple(map(plain, params["classes"])) if params.get("classes") else None
    masks, saliency = folders.get("masks"), folders.get("saliency")
    unlabelled = bool(params.get("allow_unlabelled", False))
    return Source(folders["images"], path_of(params["labels"]).parent, masks, saliency, classes, unlabelled)


def _of_yaml(written: str) -> str:
    """What to add about a path that YAML reads otherwise than is meant."""
    if written != written.strip():
        return f"; {written!r} has a space at an end: take it out"
    if "$" in path_text(written):
        return "; an environment variable in it is not set: export it, or write the path out"
    if written.lower() == "none":
        return "; where there is none leave the line out, or write null"
    curly = sorted(set(written) & set("“”‘’„"))
    return f"; YAML's quotes are ' and \", and {' '.join(curly)} are letters of the name" if curly else ""


def path_of(value: str | Path) -> Path:
    """Absolute, with variables and `~` filled in."""
    return Path(os.path.abspath(path_text(value)))


def path_text(value: str | Path) -> str:
    """The path with variables and `~` filled in."""
    return os.path.expandvars(os.path.expanduser(value))


def located(cells: dict[str, str], source: Source) -> tuple[str | None, str | None, str | None]:
    """Image, mask and saliency map of a row; the mask may be missing where the row names one.

    Text, not Path: planning asks for 82,081 rows.
    """
    image = find_image(cells, source)
    if image is None:
        return None, None, None
    stem = stem_of(image, source)
    return image, _find_mask(cells.get("mask", ""), stem, source), _png(source.saliency, stem)


def find_image(cells: dict[str, str], source: Source) -> str | None:
    """The photo that a row names, by path or by id."""
    if cells.get("image"):
        names = [cells["image"]]
    else:
        bare = cells.get("id", "")
        names = [bare + suffix for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))] if bare else []
    candidates = (_below(folder, name) for folder in (source.images, source.beside) for name in names)
    return next(filter(is_file, candidates), None)


def _find_mask(cell: str, stem: str, source: Source) -> str | None:
    if not cell:
        return _png(source.masks, stem)
    candidates = [_below(folder, cell) for folder in (source.masks, source.beside) if folder]
    return next(filter(is_file, candidates), candidates[-1])


def _png(folder: Path | None, stem: str) -> str | None:
    paths = [os.path.join(folder, f"{stem}{suffix}") for suffix in (".png", ".PNG")] if folder else []
    return next(filter(is_file, paths), None)


def stem_of(image: str, source: Source) -> str:
    """The image's path below its folder, without suffix."""
    folders = (f"{folder}{os.sep}" for folder in (source.images, source.beside))
    base = next((folder for folder in folders if image.startswith(folder)), None)
    name = (image.removeprefix(base) if base else os.path.basename(image)).replace(os.sep, "/")
    head, _, suffix = name.rpartition(".")
    has_suffix = suffix and "/" not in suffix and head and not head.endswith("/")  # .hidden has none
    return head if has_suffix else name


def second_image(image: str, cells: dict[str, str]) -> str | None:
    """Another file that an id may mean: beside `image`, with another suffix."""
    bare = image.rpartition(".")[0]
    names = [] if cells.get("image") else [bare + suffix for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))]
    return next((name for name in names if name != image and is_file(name) and not os.path.samefile(name, image)), None)


def meant_by(named: str, source: Source) -> str:
    """The photo of the same name in another folder, or in other letters; a table of Windows has backslashes."""
    links = (_below(folder, named) for folder in (source.images, source.beside) if "\0" not in named)
    if link := next(filter(os.path.islink, links), None):
        return f": {link} is a link to {shown(os.readlink(link))}, where nothing is"
    name = PureWindowsPath(named).name.casefold()
    found = next((path for known in (name, *(name + suffix for suffix in SUFFIXES)) if (path := source.by_name.get(known))), None)
    if found:
        return f", but there is {shown(found)!r}"
    if (bare := name.partition(".")[0]).isdigit() and (padded := source.by_number.get(bare.lstrip("0"))):
        return f", but there is {shown(padded)!r}: a spreadsheet took zeros away; make the column text there"
    twin = source.by_plain_name.get(plain(name))
    return f", but there is {shown(twin)!r}, whose accents are stored in another form (macOS: convmv -f utf8 -t utf8 --nfc)" if twin else ""


def closed_folder(named: str, source: Source) -> str | None:
    """A folder on the way to the image that has no permission to enter."""
    above = (parent for folder in (source.images, source.beside) if "\0" not in named for parent in Path(_below(folder, named)).parents)
    return next((str(parent) for parent in above if os.path.isdir(parent) and not os.access(parent, os.X_OK)), None)


def _below(folder: Path, name: str) -> str:
    return os.path.abspath(os.path.join(folder, name))


def is_file(path: str) -> bool:
    """As os.path.isfile, for what people write."""
    return "\0" not in path and os.path.isfile(path)
