"""Options that SEAM, CPN and PPC share."""

from wsss.methods.options.shared import ChannelDropout, DenseTrunkOptions, HardShare


class PixelCorrelationOptions(DenseTrunkOptions):
    """Of nets that refine their maps by pixel correlation."""

    dropout: ChannelDropout = 0.5
    hard_share: HardShare = 0.2
