# What the rules read and are given: the diagnosis.


@asked
def checks_behind(w):
    """`check_RECIPE` -> check.json of every classifier that a method rests on; an imported one has none."""
    links = behind(CONFIG, base_name(w.method), w.dataset, "predictions")
    owners = [
        Row(w.dataset, with_seed(name, seed_number(w.method)))
        for name, stage in links
        if stage == "classifier"
    ]
    trained = [row for row in owners if "import" not in recipe_of(row)["classifier"]]
    return {
        f"check_{base_name(row.method)}": artefact(row, "classifier", "check.json")
        for row in sorted(trained, key=lambda row: row.method)
    }


@asked
def diagnosis_inputs(w):
    return {**made_masks(w), **checks_behind(w)}


@asked
def cuts(w):
    """Stage -> the background its masks were cut at, and the key of the recipe where that stands."""
    is_seed = "pseudo_masks" in masks_made(w) and made_refine(w) == "crf"
    keys = {"seeds": "seeds.confident", "pseudo_masks": "seeds.confident" if is_seed else "pseudo_masks.bg"}
    return {stage: {"key": keys[stage], **cut} for stage, cut in thresholds(w).items()}
