"""Rule script. Stage `ir_labels`: merge confident and unsure seeds into the labels IRN and AMN learn from; 255 = unsure."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("ir_labels", snakemake)
