"""Datasets: every builder (demo, folder, voc, coco) ends in one validated manifest."""
