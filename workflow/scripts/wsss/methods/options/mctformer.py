"""Options of the nets mctformer_v1 and mctformer_v2."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wsss.engine.explain import for_people
from wsss.sections.section import Section, about


def heads_fault(dim: int, heads: int) -> str | None:
    """What is wrong with the number of heads, None where nothing is."""
    return for_people(f"dim ({dim}) must be a multiple of heads ({heads})") if dim % heads else None


class MCTformerV1Options(Section):
    """Of MCTformer-V1. `at_test`: see `wsss.recipes.net_options.at_test`."""

    at_test: ClassVar[frozenset[str]] = frozenset({"map_layers", "patch_affinity", "map"})

    patch: Annotated[int, Field(ge=1, le=64), about("side of a patch in pixels (backbone deit_small: 16)")] = 16
    dim: Annotated[int, Field(ge=1, le=4096), about("width of a token (backbone deit_small: 384)")] = 384
    depth: Annotated[int, Field(ge=1, le=64), about("blocks (backbone deit_small: 12)")] = 12
    heads: Annotated[int, Field(ge=1, le=64), about("attention heads, a divisor of dim (backbone deit_small: 6)")] = 6
    grid: Annotated[int, Field(ge=1, le=256), about("cells a side that the position embeddings are for, crop / patch (backbone deit_small: 14)")] = 14
    drop_path: Annotated[float, Field(ge=0, lt=1), about("stochastic depth: probability that the last block is left out, rising from 0 for the first; in training only")] = 0.1
    position_offset: Annotated[float, Field(ge=0, lt=1), about("position embeddings are stretched by (cells + this) / grid, 0.1 as released; 0: to the size itself")] = 0.1
    map_layers: Annotated[int, Field(ge=1, le=64), about("attention of how many of the last blocks makes the class maps")] = 3
    patch_affinity: Annotated[bool, about("class maps are spread by the patches' attention to each other")] = True

    def fault(self) -> str | None:
        """What of the values does not go together."""
        return heads_fault(self.dim, self.heads)


class MCTformerV2Options(MCTformerV1Options):
    """Of MCTformer-V2."""

    map: Annotated[Literal["fused", "patch", "attention"], about("what class maps are: the class tokens' attention times the patch maps, or one of the two")] = "fused"
