"""What the jobs of most rules are for: one row of the results' table."""

import re
from dataclasses import dataclass, replace
from typing import Any

from wsss.errors import UserError
from wsss.rownames import ROW_OR_NET, base_name, net_number, row_name, seed_number


@dataclass(frozen=True)
class Row:
    """One recipe on one dataset with one seed.

    Attributes:
        dataset: name of a file in config/datasets.
        recipe: name of a file in config/methods.
        seed: of all random draws.
        net: which of the networks whose maps the CAMs average (`cam.networks`); of those after the first
            only the classifier is made.
    """

    dataset: str
    recipe: str
    seed: int = 0
    net: int = 1

    @classmethod
    def of(cls, wildcards: Any) -> "Row":
        """From the wildcards `dataset` and `method`; shards of one stage have one row."""
        name = wildcards.method
        if not re.fullmatch(ROW_OR_NET, name):
            raise UserError(f"{name}: is no row's name; give METHOD, METHOD.seed1, or the network METHOD.net2")
        return cls(wildcards.dataset, base_name(name), seed_number(name), net_number(name))

    @property
    def method(self) -> str:
        """The wildcard: `amn`, `amn.seed2`, or `amn.net2`."""
        return row_name(self.recipe, self.seed, self.net)

    @property
    def folder(self) -> str:
        """Where the results of the row lie, below the working directory."""
        return f"results/{self.dataset}/{self.method}"

    @property
    def file(self) -> str:
        """The recipe's file, as messages name it."""
        return f"config/methods/{self.recipe}.yaml"

    def other(self, recipe: str) -> "Row":
        """The same dataset, seed and network with another recipe."""
        return replace(self, recipe=recipe)
