"""What benchmarks that run recipes share: how their names are read from the command line, and how seeds are told."""

import argparse


def recipe_name(word: str) -> str:
    """`word`, refused where it is a `key=value` for Snakemake that an option with a list of recipes has swallowed."""
    if "=" in word:
        raise argparse.ArgumentTypeError(f"{word} is a setting, no recipe; put settings before the lists of recipes")
    return word


def cut(block: dict | None) -> str:
    """mIoU of a seed and, behind it, the threshold it was cut at, or that a background map stands in its place."""
    if not block:
        return ""
    threshold = block["provenance"].get("threshold")
    return f"{block['miou']:.1f} ({'map' if threshold is None else f'{threshold:.2f}'})"
