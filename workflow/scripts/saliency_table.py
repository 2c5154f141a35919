"""Rule script. Stage `saliency_table`: methods that learn from saliency maps, against where the maps come from."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("saliency_table", snakemake)
