"""The contract between the engine and a wrapper: what trains along with a method and is gone when the training ends.

A wrapper holds the method as `base` and stands in its place in the training loop. What is saved, and what all later
stages load, is the base alone, under its own keys; the wrapper with all that it holds is the training state, for resume.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from wsss.data.further import FurtherArrays
from wsss.errors import UserError
from wsss.methods.base import CamOut, Method, whole_options


class Wrapper(nn.Module):
    """Trains `base` with more than its own loss. By itself it adds nothing: every hook is the base's.

    It may use the contract of methods only (docs/method_contract.md), whatever the base is. Its own parameters, if it
    has any, do not learn: `param_groups` are the base's.
    """

    defaults: Mapping = {}

    def __init__(self, base: Method, options: Mapping | None = None):
        """`base` has its initial weights. Raises UserError where it lacks what the wrapper needs, or for an unknown option."""
        super().__init__()
        self.base = base
        self.options = whole_options(self.defaults, options, f"wrap_options: {type(self).__name__}")

    @property
    def loss_want(self) -> frozenset[str]:
        """What `loss` needs from forward."""
        return self.base.loss_want

    def further_arrays(self) -> FurtherArrays | None:
        """As of a method; the base's arrays come first, drawn as they are without the wrapper."""
        return self.base.further_arrays()

    def param_groups(self) -> list[dict]:
        """The base's."""
        return self.base.param_groups()

    def forward(self, batch: Mapping, want: frozenset[str] = frozenset({"logits"})) -> CamOut:
        """The base's output."""
        return self.base(batch, want)

    def loss(self, batch: Mapping, out: CamOut, step: int) -> dict[str, Tensor]:
        """As of a method."""
        return self.base.loss(batch, out, step)

    def after_step(self, step: int) -> None:
        """After every optimiser step."""
        self.base.after_step(step)

    def right_cells(self, batch: Mapping) -> dict[str, tuple[Tensor, Tensor]]:
        """Kind of cell -> (how many pseudo-labels are right, how many are known to be right or wrong), after training.

        batch: a training batch whose "label" (B, S, S) uint8 is ground truth, 255 = ignore. Nothing, by default.
        """
        return {}

    def load_state_dict(self, state_dict: Mapping, strict: bool = True, assign: bool = False):
        """As of a module. Raises UserError for the state of a training of another base."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:300]
            raise UserError(
                f"wrap: the training state belongs to another base or wrapper ({words}); "
                "delete train_state.pt in the classifier's folder, and training starts over"
            ) from error
