"""Rule script. Stage `segmentation`: train DeepLab-V2 on pseudo-masks, or on ground truth for `full`."""

from wsss.stages import segmentation
from wsss.stages.task import start

if __name__ == "__main__":
    start(segmentation.run, snakemake)
