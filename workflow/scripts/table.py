"""Rule script. Stage `table`: all methods of a dataset in the shape papers print it."""

from wsss.engine.entry import start
from wsss.stages import table

if __name__ == "__main__":
    start(table.run, snakemake)
