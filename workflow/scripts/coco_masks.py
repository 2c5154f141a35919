"""Rule script. Stage `coco_masks`: ground-truth label maps of COCO, painted from the instance annotations."""

from wsss.engine.entry import start
from wsss.stages import coco_masks

if __name__ == "__main__":
    start(coco_masks.run, snakemake)
