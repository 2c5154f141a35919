"""Rule script. Stage `seeds`: two CRF-refined label maps a CAM — the confident one (the refined seed) and the unsure one."""

from wsss.stages import seeds
from wsss.stages.task import start

if __name__ == "__main__":
    start(seeds.run, snakemake)
