"""The value of a pixel that no loss and no score counts: VOC's seam around objects, an unsure IR label, padding."""

IGNORE = 255
