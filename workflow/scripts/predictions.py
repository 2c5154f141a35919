"""Rule script. Stage `predictions`: the segmentation network over whole images, multi-scale, flipped, with or without CRF."""

from wsss.stages import predictions
from wsss.stages.task import start

if __name__ == "__main__":
    start(predictions.run, snakemake)
