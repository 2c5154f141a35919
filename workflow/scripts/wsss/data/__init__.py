"""Datasets: every builder (demo, folder, voc) ends in one validated manifest."""
