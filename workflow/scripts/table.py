"""Rule script. Stage `table`: all methods of a dataset in the shape papers print it."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("table", snakemake)
