"""Rule script. Stage `classifier`: train the network whose maps become CAMs."""

from wsss.stages import classifier
from wsss.stages.task import start

if __name__ == "__main__":
    start(classifier.run, snakemake)
