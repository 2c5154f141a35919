"""Rule script. Stage `coco_masks`: ground-truth label maps of COCO, painted from the instance annotations."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("coco_masks", snakemake)
