"""Rule script. Stage `classifier`: train the network whose maps become CAMs."""

from wsss.engine.entry import start
from wsss.stages import classifier

if __name__ == "__main__":
    start(classifier.run, snakemake)
