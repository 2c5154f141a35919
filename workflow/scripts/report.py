"""Rule script. Stage `report`: pages over all methods of a dataset."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("report", snakemake)
