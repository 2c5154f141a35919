"""What Snakemake said of a run in a copy of the repository."""

import re

from helpers import snakemake

TARGET = "results/demo_tiny/amn/miou.txt"


def job_of(text, rule):
    """The lines of one job in a dry run."""
    return re.search(rf"^(?:local)?rule {rule}:\n((?:    .*\n)+)", text, re.M).group(1)


def complaint(project, *arguments):
    """The output of a run that has to end in an error without a Python traceback."""
    done = snakemake(project, *arguments)
    assert done.returncode != 0
    assert "Traceback (most recent call last)" not in done.stdout, done.stdout
    return [line.strip() for line in done.stdout.splitlines()]


def has_line(lines, *words):
    return any(all(word in line for word in words) for line in lines)
