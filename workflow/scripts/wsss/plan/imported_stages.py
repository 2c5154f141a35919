"""Stages that a recipe imports, `cam: {import: NAME}`: where they lie, and what is behind a score. No torch here."""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from wsss.engine.atomic import read_json
from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.plan.paths import INDEX, MODEL, import_folder

COMMANDS = {  # stage -> the command that fills its folder
    "classifier": "import_weights.py FILE --stage classifier --method RECIPE",
    "cam": "import_cams.py FOLDER",
    "seeds": "import_masks.py FOLDER --stage seeds",
    "ir_labels": "import_masks.py FOLDER --stage ir_labels",
    "affinity": "import_weights.py FILE --stage affinity --method RECIPE",
    "pseudo_masks": "import_masks.py FOLDER --stage pseudo_masks",
}


def import_file(dataset: str, name: str, stage: str) -> str:
    """The file that stands for an imported stage: its index, or its model."""
    is_model = COMMANDS[stage].startswith("import_weights")
    return f"{import_folder(dataset, name, stage)}/{MODEL if is_model else INDEX}"


def require_import(dataset: str, name: str, stage: str) -> str:
    """`import_file`, if it is there.

    Raises:
        UserError: it is not; says the command that puts it there.
    """
    path = import_file(dataset, name, stage)
    if not os.path.isfile(path):
        raise UserError(f"{path}: nothing is imported there; import it first: {_command(dataset, name, stage)}")
    return path


def require_settings(dataset: str, name: str, stage: str, settings: Mapping[str, Any], known: Collection[str]) -> None:
    """UserError where an imported network is described in other keys than `known`: those of a former version."""
    if set(settings) != set(known):
        raise UserError(
            f"{import_file(dataset, name, stage)}: imported by a former version, which described the network by {_listed(settings)}; "
            f"now by {_listed(known)}; import it again: {_command(dataset, name, stage)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _command(dataset: str, name: str, stage: str) -> str:
    return f"python workflow/scripts/{COMMANDS[stage]} --dataset {dataset} --name {name} (docs/import.md)"


def import_facts(path: str) -> dict[str, Any]:
    """All that an imported artefact says about itself; under `imported` its source, sha256 and layout."""
    return read_facts(path) if path.endswith(MODEL) else read_json(path)


def described(dataset: str, name: str, stage: str) -> str:
    """One import in words, for scores."""
    facts = import_facts(require_import(dataset, name, stage))["imported"]
    return f"{stage} {name} ({facts['layout']}, from {facts['source']}, sha256 {facts['sha256']})"


def refuse_imported_seeds(seeds: dict, recipe: str, who: str) -> None:
    """UserError where `who` needs more of the recipe's seeds than an imported folder holds: one mask an image."""
    if "import" in seeds:
        raise UserError(
            f"config/methods/{recipe}.yaml: seeds are imported, one mask an image, but {who}; import ir_labels "
            "(or pseudo_masks) instead, or set refine: crf, which takes the seeds as they are"
        )
