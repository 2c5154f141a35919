"""Scores: confusion matrices, the one-pass threshold sweep, threshold policies and score files."""
