"""Options that SEAM, CPN and PPC share."""

from wsss.methods.options.shared import (
    BatchNorm,
    ChannelDropout,
    Dilated,
    Freeze,
    HardShare,
    HeadScale,
    OutputStride,
    TrunkOptions,
)


class PixelCorrelationOptions(TrunkOptions):
    """Of nets that refine their maps by pixel correlation."""

    freeze: Freeze = "stage1"
    bn: BatchNorm = "frozen"
    output_stride: OutputStride = 8
    dilated: Dilated = True
    dropout: ChannelDropout = 0.5
    hard_share: HardShare = 0.2
    head_lr_scale: HeadScale = 10.0
