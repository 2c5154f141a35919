"""Names of rows: a recipe with seed 0 is `amn`, with seed 2 `amn.seed2`. Plain strings: rules and report read them alike.

A further network of a row, whose maps are averaged with those of its first (`cam.networks`), is `amn.net2`, `amn.seed2.net3`.
"""

from wsss.errors import UserError

SEED, NET = ".seed", ".net"
ROW = r"[a-z0-9_]+(\.seed[1-9][0-9]*)?"  # names as rules take them
ROW_OR_NET = ROW + r"(\.net[2-8])?"
RESERVED = ("report", "saliency", "coco_masks", "predict", "shards", "download", "weights", "index", "copies")
"""Folders of results/ and logs/, and the report's own files, such as index.html."""
LARGEST = 2**24  # what `wsss.sections.main` allows
MOST_NETS = 8  # whose maps are averaged


def base_name(name: str) -> str:
    """`amn.seed2` -> `amn`: the runs of one recipe share a row."""
    return name.split(NET)[0].split(SEED)[0]


def seed_number(name: str) -> int:
    """`amn.seed2` -> 2, `amn` -> 0. UserError for one that no config may have."""
    seed = int(name.split(NET)[0].split(SEED)[1][:20]) if SEED in name else 0
    if seed > LARGEST:
        raise UserError(f"{name}: a seed is at most {LARGEST}")
    return seed


def net_number(name: str) -> int:
    """`amn.net2` -> 2; 1 for a row's first network, whose name says no number."""
    return int(name.split(NET)[1]) if NET in name else 1


def row_name(base: str, seed: int, net: int = 1) -> str:
    """`amn`, 2 -> `amn.seed2`; `amn`, 2, 3 -> `amn.seed2.net3`."""
    seeded = base if seed == 0 else f"{base}{SEED}{seed}"
    return seeded if net == 1 else f"{seeded}{NET}{net}"
