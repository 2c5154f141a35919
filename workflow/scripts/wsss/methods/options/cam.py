"""Options of the net cam."""

from wsss.methods.options.shared import BatchNorm, Freeze, HeadScale, OutputStride, TrunkOptions


class CAMOptions(TrunkOptions):
    """Plain CAM's; defaults: IRN's released code."""

    # Freezing all that lies before IRN's cut equals cutting the gradient there: SGD skips parameters without gradient,
    # weight decay included.
    freeze: Freeze = "stage2"
    bn: BatchNorm = "statistics"
    output_stride: OutputStride = 16
    head_lr_scale: HeadScale = 10.0
