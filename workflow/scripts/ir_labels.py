"""Rule script. Stage `ir_labels`: merge confident and unsure seeds into the labels IRN and AMN learn from; 255 = unsure."""

from wsss.stages import ir_labels
from wsss.stages.task import start

if __name__ == "__main__":
    start(ir_labels.run, snakemake)
