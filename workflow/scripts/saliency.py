"""Rule script. Stage `saliency`: maps of all training images, by our own means or by the user's command."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("saliency", snakemake)
