"""A recipe's network, with random weights."""

from typing import Any

from wsss import methods
from wsss.engine.task import Task
from wsss.methods.base import Method


def build_method(task: Task, num_classes: int) -> Method:
    """The network that the task's recipe names; the caller seeds torch's global generator.

    Raises:
        UserError: an option the net does not have.
    """
    recipe: dict[str, Any] = task.params["recipe"]
    family: type[Method] = methods.get(recipe["net"])
    return family(num_classes, recipe["backbone"], task.params["net_options"])
