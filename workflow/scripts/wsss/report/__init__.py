"""The report: panels of single images, plots, and the static pages around them."""
