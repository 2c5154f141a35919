"""Rule script. Stage `weights`: ImageNet weights of a backbone, downloaded or local, checked and converted."""

from wsss.stages import weights
from wsss.stages.task import start

if __name__ == "__main__":
    start(weights.run, snakemake)
