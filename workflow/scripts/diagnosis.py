"""Rule script. Stage `diagnosis`: what a method's masks and classifiers say of themselves, without ground truth."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("diagnosis", snakemake)
