"""Rule script. Stage `cam`: multi-scale CAMs of all training images."""

from wsss.stages import cam
from wsss.stages.task import start

if __name__ == "__main__":
    start(cam.run, snakemake)
