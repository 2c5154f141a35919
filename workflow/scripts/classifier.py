"""Rule script. Stage `classifier`: train the network whose maps become CAMs."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("classifier", snakemake)
