"""Rule script. Stage `dataset`: whatever the source, one validated manifest comes out."""

from wsss.engine.entry import start
from wsss.stages import dataset

if __name__ == "__main__":
    start(dataset.run, snakemake)
