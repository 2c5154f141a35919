"""Rule script. Stage `pseudo_masks`: one mask per training image, by a random walk (IRN, AffinityNet), the CRF, or a threshold alone."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("pseudo_masks", snakemake)
