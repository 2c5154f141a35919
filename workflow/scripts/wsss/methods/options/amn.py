"""Options of the net amn."""

from typing import Annotated, ClassVar

from pydantic import Field

from wsss.methods.options.shared import BatchNorm, Freeze, HeadScale, OutputStride, TrunkOptions
from wsss.sections.section import about


class AMNOptions(TrunkOptions):
    """AMN's. `at_test`: see `wsss.recipes.net_options.at_test`."""

    at_test: ClassVar[frozenset[str]] = frozenset({"mask_trick"})

    freeze: Freeze = "stem"
    bn: BatchNorm = "statistics"
    output_stride: OutputStride = 16
    label_smoothing: Annotated[float, Field(ge=0, lt=1), about("epsilon of the balanced cross-entropy")] = 0.4
    dropout: Annotated[float, Field(ge=0, lt=1), about("before the classifier, in training only")] = 0.1
    aspp_dilations: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1), about("of the parallel convolutions, in cells")] = (6, 12, 18, 24)
    mask_trick: Annotated[bool, about("stretch probabilities only where the first stage saw no background")] = True
    head_lr_scale: HeadScale = 20.0

    def aux(self) -> frozenset[str]:
        """What inference reads of another recipe (`Spec.aux`)."""
        return frozenset({"ir_labels"} if self.mask_trick else ())
