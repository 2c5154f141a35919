"""Rule script. Stage `panels`: for a choice of images, everything a method made of them, side by side."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("panels", snakemake)
