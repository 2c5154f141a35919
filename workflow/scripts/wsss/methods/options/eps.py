"""Options of the nets eps and eps_base."""

from wsss.methods.options.shared import ChannelDropout, DenseTrunkOptions, Lambda, Tau


class EPSBaseOptions(DenseTrunkOptions):
    """Of EPS's baseline."""

    dropout: ChannelDropout = 0.5


class EPSOptions(DenseTrunkOptions):
    """Of EPS."""

    tau: Tau = 0.4
    lambda_: Lambda = 0.5
