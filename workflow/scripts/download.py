"""Rule script. Downloads of public datasets: archives checked, resumed, unpacked safely; a small JSON says what came."""

from wsss.stages import download
from wsss.stages.task import start

if __name__ == "__main__":
    start(download.run, snakemake)
