"""From CAMs to pseudo-masks: background rules, CRF, IR labels, IRN and the random walk."""
