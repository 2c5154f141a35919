"""Rule script. Stage `report`: pages over all methods of a dataset."""

from wsss.engine.entry import start
from wsss.stages import report

if __name__ == "__main__":
    start(report.run, snakemake)
