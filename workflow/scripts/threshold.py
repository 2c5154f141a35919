"""Rule script. Stage `threshold`: the cut of a recipe's CAMs, found without ground truth."""

from wsss.engine.entry import start
from wsss.stages import threshold

if __name__ == "__main__":
    start(threshold.run, snakemake)
