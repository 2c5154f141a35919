"""Rule script. SegmentationClassAug from SBD: the masks that full supervision on trainaug needs, and nothing else does."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("aug_masks", snakemake)
