# What the rules read and are given: the scores.


@asked
def imports_of(w, stage="predictions"):
    """Stage -> name of its import, of all that a stage of the method rests on."""
    return imports_behind(CONFIG, base_name(w.method), w.dataset, stage)


@asked
def stages_of(w):
    """The stages that run, or are imported, on the way to the method's predictions."""
    return {stage for _, stage in behind(CONFIG, base_name(w.method), w.dataset, "predictions")}


@asked
def masks_made(w):
    """Indexes of what a method makes of images, by name; behind an import there is nothing to score."""
    recipe = recipe_of(w)
    if section(w, "segmentation")["labels"] == "ground_truth":
        names = ["predictions"]
    elif recipe["refine"] == "none":
        names = ["cam", "pseudo_masks", "predictions"]
    else:
        names = ["cam", "seeds", "pseudo_masks", "predictions"]
    if imports_of(w):
        names = [name for name in names if name in {*stages_of(w), "predictions"}]
    return {name: artefact(w, name, "index.json") for name in names}


@asked
def makers(w):
    """Network behind the scores -> wildcards of the method that trains it."""
    if section(w, "segmentation")["labels"] == "ground_truth":
        return {"segmentation": maker(w, "segmentation")}
    walker = maker(w, "pseudo_masks")
    walk = {"affinity": maker(walker, "affinity")} if refine_of(walker) in WALKS else {}
    networks = {"classifier": maker(w, "classifier"), **walk, "segmentation": maker(w, "segmentation")}
    if not imports_of(w):
        return networks
    unknown = {"classifier"} if "cam" in imports_of(w) else set()  # what made imported CAMs
    return {name: row for name, row in networks.items() if name in stages_of(w) - unknown}


@asked
def evaluation_inputs(w):
    recipe_of(w)  # a name that is no method's ends here
    if not has_ground_truth(w.dataset):
        raise WorkflowError(
            f"{w.dataset} has no ground-truth masks, so there is no mIoU; "
            f"ask for results/{w.dataset}/{w.method}/predictions/index.json"
        )
    masks = masks_made(w)
    if "cam" not in masks and not has_ground_truth(w.dataset, "val"):
        raise WorkflowError(
            f"{w.dataset} has no val images with masks, and {w.method} makes nothing else that could be scored; "
            f"ask for results/{w.dataset}/{w.method}/predictions/index.json, or leave {w.method} out of `methods`"
        )
    models = {name: artefact(row, name, "model.safetensors") for name, row in makers(w).items()}
    return {**manifest(w), **ground_truth(w), **masks, **models, **scored_threshold(w)}


@asked
def mask_scores_inputs(w):
    """What evaluation reads, without all that stands on a segmentation network."""
    if not has_ground_truth(w.dataset):
        return evaluation_inputs(w)  # which says what is missing
    masks = {k: v for k, v in masks_made(w).items() if k != "predictions"}
    if not masks:
        raise WorkflowError(
            f"{w.method} makes no masks of training images; ask for results/{w.dataset}/{w.method}/miou.txt"
        )
    models = {
        name: artefact(row, name, "model.safetensors")
        for name, row in makers(w).items()
        if name != "segmentation"
    }
    return {**manifest(w), **ground_truth(w), **masks, **models, **scored_threshold(w)}


@asked
def scored_threshold(w):
    """The threshold of the CAMs that are scored, under a policy that takes it."""
    is_scored = "cam" in masks_made(w) and section(w, "evaluation")["policy"] == FOUND
    return threshold_file(w) if is_scored else {}


@asked
def supervision(w):
    """What the method learns from, as far as it is known here."""
    imported = sorted(imports_of(w))
    unknown = f", and whatever the imported {', '.join(imported)} learnt from" if imported else ""
    return f"{own_supervision(w)}{unknown}"


@asked
def imported_sources(w):
    """Index that is scored -> what is imported behind it, in words; plain names where nothing is."""
    found = {name: imports_of(w, name) for name in masks_made(w)}
    return {
        name: "; ".join(
            described(w.dataset, import_name, stage) for stage, import_name in sorted(imports.items())
        )
        for name, imports in found.items()
        if imports
    }


@asked
def own_supervision(w):
    if section(w, "segmentation")["labels"] == "ground_truth":
        return "ground-truth masks (full supervision)"
    if not learns_from_saliency(w):
        return "image labels"
    maker = made_saliency(w.dataset)
    source = f"made by {maker['make']}" if maker else "given"
    return f"image labels + saliency maps ({source})"


@asked
def backbones(w):
    """Trunk of each network behind the scores."""
    return {
        name: recipe_of(row).get(name, {}).get("backbone", recipe_of(row)["backbone"])
        for name, row in makers(w).items()
        if not (name == "affinity" and "import" in recipe_of(row)[name])
    }


@asked
def made_refine(w):
    row = maker(w, "pseudo_masks")
    return "imported" if "import" in recipe_of(row).get("pseudo_masks", {}) else refine_of(row)


@asked
def thresholds(w):
    """The recipe's background of each kind of mask that is scored on training images."""
    masks = [name for name in masks_made(w) if "import" not in recipe_of(maker(w, name)).get(name, {})]
    found = {}
    if "seeds" in masks:
        found["seeds"] = section(w, "seeds")["confident"]
    if "pseudo_masks" in masks:
        row = maker(w, "pseudo_masks")
        is_seed = refine_of(row) == "crf"
        cut = section(row, "seeds").get("confident") if is_seed else pseudo_masks_settings(row)["bg"]
        found |= {"pseudo_masks": cut} if cut else {}
    return found


@asked
def test_scales(w):
    settings = section(w, "predictions")
    flip = ", flipped too" if settings["flip"] else ""
    return f"{settings['scales']}{flip}"


@asked
def chain_code(w):
    """One digest for the code of the whole chain, for the record."""
    recipes = CONFIG.sources(base_name(w.method), w.dataset)
    nets = {methods.module_path(CONFIG.recipe(name, w.dataset)["net"]) for name in recipes}
    wraps = {CONFIG.recipe(name, w.dataset).get("wrap", wrappers.NONE) for name in recipes}
    nets |= {wrappers.module_path(name) for name in wraps - {wrappers.NONE}}
    refines = {CONFIG.recipe(name, w.dataset)["refine"] for name in recipes}
    nets |= {parts[refine] for refine in refines & set(WALKS) for parts in (walks.LEARNERS, walks.WALKERS)}
    nets.add(segmenters.module_path(segmentation_net(w)))
    saliency = ["wsss.stages.saliency"] if learns_from_saliency(w) and made_saliency(w.dataset) else []
    return code_version(*[f"wsss.stages.{stage}" for stage in STAGES], *saliency, *nets)
