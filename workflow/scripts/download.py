"""Rule script. Downloads of public datasets: archives checked, resumed, unpacked safely; a small JSON says what came."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("download", snakemake)
