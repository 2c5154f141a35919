"""Rule script. Stage `evaluation`: score every mask a method made; one pass over the CAMs gives all thresholds."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("evaluation", snakemake)
