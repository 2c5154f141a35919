"""Rule script. Stage `threshold`: the cut of a recipe's CAMs, found without ground truth."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("threshold", snakemake)
