"""What a stage rests on: everything behind it, up to what is imported."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsss.errors import UserError
from wsss.plan.row import Row

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

Link = tuple[Row, str]  # the row that runs a stage, and the stage


def behind(plan: "Plan", row: Row, stage: str) -> tuple[Link, ...]:
    """Every link that `stage` of `row` rests on, itself last, each after all that it reads. An imported stage rests on nothing."""
    seen: set[Link] = set()
    found: list[Link] = []

    def visit(asked: Row, what: str) -> None:
        link = plan.owner(asked, what), what
        if link not in seen:
            seen.add(link)
            for read in plan.reads(*link):
                visit(read.asked_of(link[0]), read.stage)
            found.append(link)

    visit(row, stage)
    return tuple(found)


def imports_behind(plan: "Plan", row: Row, stage: str) -> dict[str, tuple[str, ...]]:
    """Stage -> names of its imports, of all that `stage` of `row` rests on; recipes of one chain may import different ones."""
    found: dict[str, set[str]] = {}
    for owner, what in plan.behind(row, stage):
        section = plan.recipe(owner).get(what, {})
        if "import" in section:
            found.setdefault(what, set()).add(section["import"])
    return {what: tuple(sorted(found[what])) for what in sorted(found)}


def refuse_circle(stage: str, key: str) -> Callable[["Plan", Row], None]:
    """Function: UserError where the recipe that `key` of the stage names learns from that very stage itself."""

    def refuse(plan: "Plan", row: Row) -> None:
        other = plan.recipe(row)[stage].get(key)
        if other and (row, stage) in plan.behind(row.other(other), "ir_labels"):
            raise UserError(
                f"{row.file}: {stage}.{key}: the labels of {other} are made with this {stage} itself, a circle; "
                "name another recipe"
            )

    return refuse
