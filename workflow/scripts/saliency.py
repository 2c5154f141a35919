"""Rule script. Stage `saliency`: maps of all training images, by our own means or by the user's command."""

from wsss.stages import saliency
from wsss.stages.task import start

if __name__ == "__main__":
    start(saliency.run, snakemake)
