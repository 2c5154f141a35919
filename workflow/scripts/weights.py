"""Rule script. Stage `weights`: ImageNet weights of a backbone, downloaded or local, checked and converted."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("weights", snakemake)
