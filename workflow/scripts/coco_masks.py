"""Rule script. Stage `coco_masks`: ground-truth label maps of COCO, painted from the instance annotations."""

from wsss.stages import coco_masks
from wsss.stages.task import start

if __name__ == "__main__":
    start(coco_masks.run, snakemake)
