"""The frozen first layers of a trunk give the teacher what they gave the student, on the same image: computed once, used twice."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from wsss.nets.norm import BatchNorm


class FrozenPrefix:
    """Outputs of the student's frozen layers for one image, kept from its pass to the teacher's.

    Layers are the trunk's children in their order up to the first that learns, whose statistics move, or that drops anything. Their
    weights are those of the teacher, which averages only what learns. Without such layers nothing is kept.
    """

    def __init__(self, trunk: nn.Module):
        self.names = list(_frozen_names(trunk))
        self.forget()

    def forget(self) -> None:
        """Let go of what is kept."""
        self.image: Tensor | None = None
        self.outputs: dict[str, Tensor] = {}

    @contextmanager
    def remember(self, trunk: nn.Module):
        """Inside, keep what the layers of `trunk` give for the first image that it is shown."""
        self.forget()
        shown: list[Tensor] = []

        def begin(module: nn.Module, inputs: tuple) -> None:
            shown.append(inputs[0])
            self.image = shown[0]

        def keep(name: str):
            def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
                if len(shown) == 1:
                    self.outputs[name] = output

            return hook

        hooks = [trunk.register_forward_pre_hook(begin)] if self.names else []
        hooks += [getattr(trunk, name).register_forward_hook(keep(name)) for name in self.names]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def recall(self, trunk: nn.Module, batch: Mapping):
        """Inside, the layers of `trunk` give what is kept, if that is of the batch's image; then it is let go of."""
        known = self.outputs if self.image is batch["image"] else {}
        for name, output in known.items():
            getattr(trunk, name).forward = lambda *inputs, output=output: output
        try:
            yield
        finally:
            for name in known:
                del getattr(trunk, name).forward
            self.forget()


def _frozen_names(trunk: nn.Module) -> Iterator[str]:
    for name, child in trunk.named_children():
        moving = any(isinstance(m, BatchNorm) and not m.frozen or isinstance(m, nn.Dropout | nn.Dropout2d) for m in child.modules())
        if moving or any(p.requires_grad for p in child.parameters()):
            return
        yield name
