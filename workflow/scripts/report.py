"""Rule script. Stage `report`: pages over all methods of a dataset."""

from wsss.stages import report
from wsss.stages.task import start

if __name__ == "__main__":
    start(report.run, snakemake)
