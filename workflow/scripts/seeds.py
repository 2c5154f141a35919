"""Rule script. Stage `seeds`: two CRF-refined label maps a CAM — the confident one (the refined seed) and the unsure one."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("seeds", snakemake)
