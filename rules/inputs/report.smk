# What the rules read and are given: the pages.


@asked
def panels_inputs(w):
    return {**made_masks(w), **ground_truth(w)}


@asked
def made_masks(w):
    """All that a method made of images, and what that is read with."""
    inputs = {**manifest(w), **masks_made(w), **scored_threshold(w)}
    has_both_seeds = "seeds" in inputs and "import" not in section(w, "seeds")
    if has_both_seeds or "ir_labels" in imports_of(w):
        inputs["ir_labels"] = artefact(w, "ir_labels", "index.json")
    return inputs


@asked
def seed_bg(w):
    return seed_rule(section(w, "evaluation"))


@asked
def histories(w):
    """Training histories of a method, its own and those it takes from other recipes; an imported model has none."""
    return {
        name: artefact(row, name, "history.csv")
        for name, row in makers(w).items()
        if "import" not in recipe_of(row).get(name, {})
    }


@asked
def report_rows(w):
    return [Row(w.dataset, method) for method in configured_methods()]


@asked
def panels_of(w):
    """Pictures are shown of the first seed of a method."""
    if seed_number(w.method) != min(config["seeds"]):
        return {}
    return {"panels": f"results/{w.dataset}/{w.method}/panels/index.json"}


@asked
def report_inputs(w):
    files = []
    for row in report_rows(w):
        folder = f"results/{row.dataset}/{row.method}"
        names = ("scores.json", "sweep.csv", "per_image.csv") if has_ground_truth(w.dataset) else ()
        scored = [f"{folder}/{name}" for name in names]
        files += [
            *scored,
            f"{folder}/diagnosis.json",
            *panels_of(row).values(),
            *histories(row).values(),
        ]
    return {**manifest(w), "files": files}


@asked
def report_methods(w):
    return [
        {
            "name": row.method,
            "folder": f"results/{row.dataset}/{row.method}",
            "scored": has_ground_truth(w.dataset),
            "history": histories(row),
            "chain": stages_behind(row),
            **panels_of(row),
        }
        for row in report_rows(w)
    ]


@asked
def stages_behind(w):
    """What runs on the way to a method's predictions, in order, for the report's costs; no imports."""
    links = behind(CONFIG, base_name(w.method), w.dataset, "predictions")
    made = [
        (STAGES.index(stage), stage, with_seed(owner, seed_number(w.method)))
        for owner, stage in links
        if "import" not in CONFIG.recipe(owner, w.dataset).get(stage, {})
    ]
    return [
        {
            "stage": stage,
            "method": method,
            "folder": f"results/{w.dataset}/{method}/{stage}",
            "log": f"logs/{w.dataset}/{method}/{stage}.tsv",
        }
        for _, stage, method in sorted(made)
    ]


@asked
def panel_count(w):
    return config["report"]["panels"]
