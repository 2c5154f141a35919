"""What benchmarks that run recipes share: how their names are read from the command line."""

import argparse


def recipe_name(word: str) -> str:
    """`word`, refused where it is a `key=value` for Snakemake that an option with a list of recipes has swallowed."""
    if "=" in word:
        raise argparse.ArgumentTypeError(f"{word} is a setting, no recipe; put settings before the lists of recipes")
    return word
