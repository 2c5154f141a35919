"""Image scales."""

from typing import Annotated

from pydantic import Field

Scales = Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)]
