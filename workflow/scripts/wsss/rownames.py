"""Names of rows: a recipe with seed 0 is `amn`, with seed 2 `amn.seed2`. Plain strings: rules and report read them alike."""

from wsss.errors import UserError

SEED = ".seed"
RESERVED = ("report", "saliency", "coco_masks", "predict", "shards", "download", "weights", "index", "pseudo", "copies")
"""Folders of results/ and logs/, and the report's own files: index.html, and pseudo_training.svg beside METHOD_training.svg."""
LARGEST = 2**24  # what `wsss.sections.main` allows


def base_name(name: str) -> str:
    """`amn.seed2` -> `amn`: the runs of one recipe share a row."""
    return name.split(SEED)[0]


def seed_number(name: str) -> int:
    """`amn.seed2` -> 2, `amn` -> 0. UserError for one that no config may have."""
    seed = int(name.split(SEED)[1][:20]) if SEED in name else 0
    if seed > LARGEST:
        raise UserError(f"{name}: a seed is at most {LARGEST}")
    return seed


def with_seed(base: str, seed: int) -> str:
    """`amn`, 2 -> `amn.seed2`."""
    return base if seed == 0 else f"{base}{SEED}{seed}"
