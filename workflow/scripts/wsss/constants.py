"""Two numbers that many packages share."""

# The value of a pixel that no loss and no score counts: VOC's seam around objects, an unsure IR label, padding.
IGNORE = 255
# Pixels: the long side of VOC's and COCO's photos, which all scales in the recipes are made for (docs/own_photos.md).
LONG_SIDE = 512
