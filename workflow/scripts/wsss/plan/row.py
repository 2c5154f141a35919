"""What the jobs of most rules are for: one row of the results' table."""

from dataclasses import dataclass, replace
from typing import Any

from wsss.rownames import base_name, seed_number, with_seed


@dataclass(frozen=True)
class Row:
    """One recipe on one dataset with one seed.

    Attributes:
        dataset: name of a file in config/datasets.
        recipe: name of a file in config/methods.
        seed: of all random draws.
    """

    dataset: str
    recipe: str
    seed: int = 0

    @classmethod
    def of(cls, wildcards: Any) -> "Row":
        """From the wildcards `dataset` and `method`; shards of one stage have one row."""
        return cls(wildcards.dataset, base_name(wildcards.method), seed_number(wildcards.method))

    @property
    def method(self) -> str:
        """The wildcard: `amn`, or `amn.seed2`."""
        return with_seed(self.recipe, self.seed)

    @property
    def folder(self) -> str:
        """Where the results of the row lie, below the working directory."""
        return f"results/{self.dataset}/{self.method}"

    @property
    def file(self) -> str:
        """The recipe's file, as messages name it."""
        return f"config/methods/{self.recipe}.yaml"

    def other(self, recipe: str) -> "Row":
        """The same dataset and seed with another recipe."""
        return replace(self, recipe=recipe)
