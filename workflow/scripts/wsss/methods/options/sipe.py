"""Options of the net sipe."""

from typing import Annotated, ClassVar, Literal

from wsss.methods.options.shared import BatchNorm, Freeze, HeadScale, OutputStride, TrunkOptions
from wsss.sections.section import about


class SIPEOptions(TrunkOptions):
    """SIPE's. It must know which cells lie in the photo (`by_place`, see `wsss.recipes.net_options.by_place`; for `at_test` see there too)."""

    by_place: ClassVar[bool] = True
    at_test: ClassVar[frozenset[str]] = frozenset({"infer_seeds_from", "absent_compete"})

    freeze: Freeze = "stage2"
    bn: BatchNorm = "statistics"
    output_stride: OutputStride = 16
    infer_seeds_from: Annotated[Literal["hierarchical", "layer4"], about("features whose structure seeds follow at test; training has layer4's, the released inference the hierarchical ones")] = "hierarchical"
    absent_compete: Annotated[bool, about("at test classes that the image does not have take part when seeds are chosen, as released: what they win is nobody's seed")] = True
    head_lr_scale: HeadScale = 10.0
