"""Typed sections of recipes from what a test says of them."""

from wsss.sections.training import Training


def settings_of(values):
    """Settings of a training; what is left out is the default, or missing: functions are given what they read."""
    return Training.model_construct(**values)
