"""The trunks by name."""

from typing import Literal

Backbone = Literal["resnet18", "resnet50", "resnet101", "resnet38d", "resnet_small", "deit_small", "vit"]
