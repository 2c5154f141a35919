"""Typed sections of recipes from what a test says of them."""

from wsss.sections.section import typed
from wsss.sections.training import Augmentation, Training


def settings_of(values):
    """Settings of a training; what is left out is the default, or missing: functions are given what they read."""
    return Training.model_construct(**values)


def augmentation_of(values, **changes):
    """What is drawn for a sample; changes: of single keys."""
    return typed({**values, **changes}, Augmentation)
