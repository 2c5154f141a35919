"""Rule script. Stage `affinity`: train the network of the random walk, IRN or AffinityNet by the recipe."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("affinity", snakemake)
