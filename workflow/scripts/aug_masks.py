"""Rule script. SegmentationClassAug from SBD: the masks that full supervision on trainaug needs, and nothing else does."""

from wsss.stages import aug_masks
from wsss.stages.task import start

if __name__ == "__main__":
    start(aug_masks.run, snakemake)
