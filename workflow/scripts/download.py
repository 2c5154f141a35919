"""Rule script. Downloads of public datasets: archives checked, resumed, unpacked safely; a small JSON says what came."""

from wsss.engine.entry import start
from wsss.stages import download

if __name__ == "__main__":
    start(download.run, snakemake)
