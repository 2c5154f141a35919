"""Rule script. Stage `predict`: the segmentation network over a folder of the user's own photos: masks, overlays, areas of classes."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("predict", snakemake)
