"""Rule script. Stage `pseudo_masks`: one mask per training image, by IRN's random walk, the CRF, or a threshold alone."""

from wsss.stages import pseudo_masks
from wsss.stages.task import start

if __name__ == "__main__":
    start(pseudo_masks.run, snakemake)
