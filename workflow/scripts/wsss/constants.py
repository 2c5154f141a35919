"""Numbers that many packages share."""

# The value of a pixel that no loss and no score counts: VOC's seam around objects, an unsure IR label, padding.
IGNORE = 255
# Pixels: the long side of VOC's and COCO's photos, which all scales in the recipes are made for (docs/own_photos.md).
LONG_SIDE = 512
# How far a found cut may be moved, as a share of its way to 1 or to 0: at the ends all, or nothing, would be background.
LARGEST_SHIFT = 0.95
