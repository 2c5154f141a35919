"""Files on disk: atomic writes, images, masks, CAMs, indexes, journals, run records."""
