"""Rule script. Stage `cam`: multi-scale CAMs of all training images."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("cam", snakemake)
