"""Rule script. Stage `threshold`: the cut of a recipe's CAMs, found without ground truth."""

from wsss.stages import threshold
from wsss.stages.task import start

if __name__ == "__main__":
    start(threshold.run, snakemake)
