"""Golden files in the second form (`state_dict`, `tensors`, `parameters`), read as those of the first are."""

import re
from collections.abc import Mapping


def as_first_form(record: Mapping) -> dict:
    """The facts that `golden_case` reads, out of a record of the second form; its other entries stay."""
    gradients = {name: entry.get("grad_l2", entry.get("grad_l2_before_clip")) for name, entry in record["parameters"].items()}
    learns = {name: entry for name, entry in record["parameters"].items() if gradients[name] is not None}
    steps = {
        "momentum": [record["options"].get("sgd_momentum_in_effect")],
        "loss": [losses.get("loss", losses.get("losses")) for losses in record["losses_step_by_step"]],
        **{f"after_{n}": {k: (e[f"step{n}_l2"], e[f"step{n}_change_l2"]) for k, e in learns.items()} for n in _steps_kept(learns)},
    }
    scalars = {
        "losses": record["losses_step_by_step"][0],
        "gradient_norms": {name: gradients[name] for name in learns},
        "steps": {"released": steps},
        "taps": {name: _whole(entry) for name, entry in record["tensors"].items()},
    }
    arrays = {name: entry["stored"] for name, entry in record["tensors"].items()}
    return {**record, "keys": record["state_dict"], "arrays": arrays, "scalars": scalars}


def _whole(entry: Mapping) -> dict:
    """What a file says of a whole tensor."""
    largest = max(abs(entry["min"]), abs(entry["max"]))
    return {"shape": entry["shape"], "absmax": largest, "l2": entry["l2"], "std": entry["std"]}


def _steps_kept(learns: Mapping) -> list[int]:
    """After which steps the file has the parameters' norms."""
    names = {key for entry in learns.values() for key in entry}
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"step(\d+)_l2", name)))


def flat_step(text: str) -> int | None:
    """k of "flat[::k]"."""
    found = re.match(r"flat\[::(\d+)\]", text)
    return int(found[1]) if found else None
