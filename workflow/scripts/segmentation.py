"""Rule script. Stage `segmentation`: train the recipe's DeepLab on pseudo-masks, or on ground truth for `full`."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("segmentation", snakemake)
