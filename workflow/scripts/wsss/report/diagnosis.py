"""The diagnosis of methods in words: a table row each, for diagnosis.txt and the report's first page."""

from typing import Any

from wsss.report.cells import Table

NAMES = {"seed": "seed", "seeds": "refined seed", "ir_labels": "IR label", "pseudo_masks": "pseudo-mask", "predictions": "prediction"}
HOW = {
    "val": "photos of val",
    "held_out": "photos held out",
    "cross_fit": "photos, ImageNet features cross-fitted",
}


def figures(content: dict[str, Any]) -> dict[str, str]:
    """Heading -> words, of the content of a diagnosis.json."""
    check, found = content.get("classifier"), content.get("stages", {})
    stages = {name: found[name] for name in NAMES if name in found}  # in the chain's order
    return {
        "classifier on photos not seen": _seen(check, check) if check and check["how"] in HOW else _none(check),
        "on those trained on": _seen(check, {**check["training"], "how": ""}) if check and check["training"] else "-",
        "steps (passes)": f"{check['trained']['steps']} ({check['trained']['passes']:g})" if check else "-",
        "foreground, % of pixels": _by_stage(stages, "foreground"),
        "photos all foreground / all background, %": _whole(stages),
        "unsure, % of pixels": _by_stage({k: v for k, v in stages.items() if v.get("unsure")}, "unsure"),
        "classes never predicted": _never(stages),
        "agreement, mean IoU": _joined(f"{_pair(p)} {_number(p['miou'])}" for p in content.get("agreement", [])),
    }


def in_words(content: dict[str, Any]) -> str:
    """diagnosis.txt: warnings, then the figures."""
    lines = content["warnings"]
    head = f"{content['dataset']}, {content['method']}: {len(lines) or 'no'} warning{'' if len(lines) == 1 else 's'}"
    listed = [f"- {line}" for line in lines]
    rows = [f"{name}: {words}" for name, words in figures(content).items()]
    sampled = [f"{NAMES[n]}s: {f['photos']} of {f['of']} read" for n, f in content["stages"].items() if f["photos"] < f["of"]]
    return "\n".join([head, *listed, "", *rows, *sampled, "", "Nothing here uses ground truth."]) + "\n"


def table(contents: list[dict[str, Any]]) -> Table:
    """A row a method, of the contents of their diagnosis.json."""
    found = [figures(content) for content in contents]
    rows = [[content["method"], *(words.split("; ") for words in row.values())] for content, row in zip(contents, found, strict=True)]
    return Table("diagnosis of all methods", ["method", *found[0]], rows, is_words=True)


def classifier_map(contents: list[dict[str, Any]]) -> float | None:
    """mAP of the first seed's classifier, in percent: on photos it has not seen, else on those it was trained on."""
    check = contents[0].get("classifier") if contents else None
    if not check:
        return None
    shown = check if check["how"] in HOW else check["training"]
    return (shown or {}).get("map")


def warnings(contents: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Method -> its warnings; a method without any is left out."""
    found: dict[str, list[str]] = {}
    for content in contents:
        if content["warnings"]:
            found.setdefault(content["method"], []).extend(content["warnings"])
    return found


def pseudo_label_table(contents: list[dict[str, Any]]) -> Table | None:
    """How often the labels that wrapped classifiers taught are right, by ground truth; None where none is known."""
    known = [(c["method"], (c.get("classifier") or {}).get("pseudo_labels")) for c in contents]
    rows = [(method, facts) for method, facts in known if facts]
    if not rows:
        return None
    kinds = list(rows[0][1]["accuracy"])
    head = ["method", "images", *(f"{k.replace('_', ' ')}, % right (uses ground truth)" for k in kinds)]
    cells = [[m, f["photos"], *(_number(f["accuracy"][k]) for k in kinds)] for m, f in rows]
    return Table("how often pseudo-labels are right", head, cells)


def _seen(check: dict, shown: dict) -> str:
    whose = f" ({check['of']}'s)" if "of" in check else ""
    ranked = f"mAP {_number(shown['map'])} (guessing {_number(shown['guess_map'])}), " if shown["map"] is not None else ""
    return f"{ranked}{_f1(shown)}loss {shown['loss']:.2f} (guessing {shown['guess_loss']:.2f}); {shown['photos']} {HOW.get(shown['how'], 'photos')}{whose}"


def _f1(shown: dict) -> str:
    """Nothing where no class can be said; checks of before F1 was taken have none."""
    if "f1" not in shown:
        return "F1 not taken then, "
    return "" if shown["f1"] is None else f"F1 {_number(shown['f1'])}, "


def _none(check: dict | None) -> str:
    return f"not known: {check['why']}" if check else "-"


def _by_stage(stages: dict, key: str) -> str:
    return _joined(f"{NAMES.get(name, name)} {_number(found[key])}" for name, found in stages.items())


def _whole(stages: dict) -> str:
    return _joined(
        f"{NAMES.get(name, name)} {_number(found['all_foreground'])} / {_number(found['all_background'])}"
        for name, found in stages.items()
    )


def _never(stages: dict) -> str:
    return _joined(f"{NAMES.get(name, name)}: {', '.join(found['never'])}" for name, found in stages.items() if found["never"])


def _pair(pair: dict) -> str:
    return " and ".join(NAMES[name] for name in pair["of"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _joined(parts) -> str:
    return "; ".join(parts) or "-"
