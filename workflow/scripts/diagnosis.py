"""Rule script. Stage `diagnosis`: what a method's masks and classifiers say of themselves, without ground truth."""

from wsss.stages import diagnosis
from wsss.stages.task import start

if __name__ == "__main__":
    start(diagnosis.run, snakemake)
