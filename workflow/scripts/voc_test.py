"""Rule script. Stage `voc_test`: the segmentation network over VOC's test images, and the archive that its server scores."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("voc_test", snakemake)
