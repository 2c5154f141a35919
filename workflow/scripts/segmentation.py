"""Rule script. Stage `segmentation`: train the recipe's DeepLab on pseudo-masks, or on ground truth for `full`."""

from wsss.engine.entry import start
from wsss.stages import segmentation

if __name__ == "__main__":
    start(segmentation.run, snakemake)
