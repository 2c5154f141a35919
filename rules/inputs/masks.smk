# What the rules read and are given: the stages from the classifier to the pseudo-masks.


# --- classifier


@asked
def classifier_inputs(w):
    inputs = {**manifest(w), **weights_input(w, recipe_of(w)["backbone"])}
    labels_from = recipe_of(w)["classifier"].get("labels_from")
    if labels_from:
        refuse_circle(CONFIG, base_name(w.method), w.dataset, "classifier", "labels_from")
        inputs["labels"] = artefact_of(w, labels_from, "ir_labels", "index.json")
    if recipe_of(w)["classifier"].get("saliency"):
        made = {"saliency": f"results/{w.dataset}/saliency/index.json"}
        inputs |= made if made_saliency(w.dataset) else {"own_maps": f"results/{w.dataset}/saliency.json"}
    return inputs


# --- cam


@asked
def cam_inputs(w):
    inputs = {**manifest(w), "model": artefact(w, "classifier", "model.safetensors")}
    aux_from = recipe_of(w)["cam"].get("aux_from")
    if aux_from:
        refuse_circle(CONFIG, base_name(w.method), w.dataset, "cam", "aux_from")
        inputs["ir_labels"] = artefact_of(w, aux_from, "ir_labels", "index.json")
    return inputs


# --- threshold


@asked
def threshold_inputs(w):
    owner = maker(w, "cam").method
    if owner != w.method:
        raise UserError(
            f"method {w.method} takes its cam from recipe {owner}, and with it the threshold; ask for that recipe's file instead"
        )
    if recipe_of(w)["evaluation"]["policy"] == MAP:
        raise UserError(f"method {w.method}: {NO_CUT}")
    return {**manifest(w), "cam": artefact(w, "cam", "index.json")}


@asked
def threshold_file(w):
    """That of the CAMs a stage of the method reads."""
    owner = maker(w, "cam")
    return {"threshold": f"results/{w.dataset}/{owner.method}/threshold/threshold.json"}


# --- seeds


@asked
def seeds_inputs(w):
    inputs = {**manifest(w), "cam": artefact(w, "cam", "index.json")}
    rules = [recipe_of(w).get("seeds", {}).get(name, {}) for name in ("confident", "unsure")]
    return {**inputs, **threshold_file(w)} if any(map(is_found, rules)) else inputs


# --- ir_labels


@asked
def ir_labels_inputs(w):
    refuse_imported_seeds(section(w, "seeds"), maker(w, "seeds").method, "IR labels are made of two passes")
    return {**manifest(w), "seeds": artefact(w, "seeds", "index.json")}


# --- affinity


@asked
def affinity_labels(w):
    """What the network learns from: IR labels, or the probabilities beside the seeds."""
    if refine_of(w) == "affinitynet":
        owner = maker(w, "seeds").method
        refuse_imported_seeds(section(w, "seeds"), owner, "AffinityNet learns from the CRF's probabilities")
        require_probabilities(section(w, "seeds"), owner)
        return {"seeds": artefact(w, "seeds", "index.json")}
    return {"ir_labels": artefact(w, "ir_labels", "index.json")}


@asked
def affinity_inputs(w):
    settings = settings_of("affinity")(w)
    inputs = {**manifest(w), **affinity_labels(w)}
    if settings["trunk"] == "classifier":
        inputs["classifier"] = artefact(w, "classifier", "model.safetensors")
        return inputs
    return inputs if settings["trunk"] == "none" else {**inputs, **weights_input(w, settings["backbone"])}


@asked
def walk_network(w):
    """What build_network needs, for training and for inference alike; None where nothing walks."""
    refine = refine_of(w)
    if refine not in WALKS:
        return None
    owner = maker(w, "affinity")
    if "import" in section(w, "affinity"):
        facts = read_facts(artefact(w, "affinity", "model.safetensors"))
        require_same_walk(refine, f"{owner.method} (imported)", facts["refine"])
        name = section(w, "affinity")["import"]
        require_settings(w.dataset, name, "affinity", facts["settings"], NETWORK[refine])
        return facts["settings"]
    require_same_walk(refine, owner.method, refine_of(owner))
    return {k: section(w, "affinity")[k] for k in NETWORK[refine]}


# --- pseudo_masks


@asked
def pseudo_masks_inputs(w):
    refine = recipe_of(w)["refine"]
    if refine == "crf":
        return {**manifest(w), "seeds": artefact(w, "seeds", "index.json")}
    inputs = {**manifest(w), "cam": artefact(w, "cam", "index.json")}
    if is_found(pseudo_masks_settings(w)["bg"]) and refine not in CUT_AFTER:
        inputs |= threshold_file(w)
    if refine in WALKS:
        inputs["affinity"] = artefact(w, "affinity", "model.safetensors")
    return inputs


@asked
def pseudo_masks_settings(w):
    recipe = recipe_of(w)
    if recipe["refine"] == "none" and "pseudo_masks" not in recipe:
        return {"bg": seed_rule(section(w, "evaluation"))}
    return {} if recipe["refine"] == "crf" else settings_of("pseudo_masks")(w)


@asked
def refine_of(w):
    return recipe_of(w)["refine"]


@asked
def walk_gpu(w):
    """GPUs of the pseudo_masks rule: only the walk uses one."""
    return int(refine_of(w) in WALKS)
