"""Rule script. Stage `dataset`: whatever the source, one validated manifest comes out."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("dataset", snakemake)
