"""File formats of results and inputs: photos, masks, CAMs, probabilities, models, pickles; and digests of content."""
