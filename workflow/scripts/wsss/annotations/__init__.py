"""Masks as the files of annotation tools, and back: COCO, LabelMe, CVAT. The commands `python -m wsss export` and `masks`."""
