"""Rule script. Stage `dataset`: whatever the source, one validated manifest comes out."""

from wsss.stages import dataset
from wsss.stages.task import start

if __name__ == "__main__":
    start(dataset.run, snakemake)
