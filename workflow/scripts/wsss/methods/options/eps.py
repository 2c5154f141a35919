"""Options of the nets eps and eps_base."""

from wsss.methods.options.shared import (
    BatchNorm,
    ChannelDropout,
    Dilated,
    Freeze,
    HeadScale,
    Lambda,
    OutputStride,
    Tau,
    TrunkOptions,
)


class EPSBaseOptions(TrunkOptions):
    """Of EPS's baseline."""

    freeze: Freeze = "stage1"
    bn: BatchNorm = "frozen"
    output_stride: OutputStride = 8
    dilated: Dilated = True
    dropout: ChannelDropout = 0.5
    head_lr_scale: HeadScale = 10.0


class EPSOptions(TrunkOptions):
    """Of EPS."""

    freeze: Freeze = "stage1"
    bn: BatchNorm = "frozen"
    output_stride: OutputStride = 8
    dilated: Dilated = True
    tau: Tau = 0.4
    lambda_: Lambda = 0.5
    head_lr_scale: HeadScale = 10.0
