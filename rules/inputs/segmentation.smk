# What the rules read and are given: the segmentation network and what it makes.


# --- segmentation


@asked
def segmentation_inputs(w):
    inputs = {**manifest(w), **weights_input(w, section(w, "segmentation")["backbone"])}
    if section(w, "segmentation")["labels"] == "pseudo_masks":
        inputs["pseudo_masks"] = artefact(w, "pseudo_masks", "index.json")
        return inputs
    if not has_ground_truth(w.dataset):
        raise WorkflowError(
            f"{w.dataset} has no ground-truth masks, from which {w.method} learns; leave {w.method} out of `methods`, or give masks"
        )
    return {**inputs, **ground_truth(w, "masks_train")}


@asked
def segmentation_net(w):
    return section(w, "segmentation").get("net", segmenters.DEFAULT)


@asked
def segmentation_network(w):
    network = {k: section(w, "segmentation")[k] for k in ("backbone", "options")}
    return {"net": segmentation_net(w), **network}


# --- predictions


@asked
def predictions_inputs(w):
    return {
        **manifest(w),
        **ground_truth(w, "scored"),
        "model": artefact(w, "segmentation", "model.safetensors"),
    }


# --- predict


@functools.cache
def photo_facts(name):
    """Folder and size limit of an entry of `predict`, and what changes whenever a photo does."""
    source = photo_source(config.get("predict") or {}, name)
    find_photos(source["folder"])  # a wrong folder ends here, before anything runs
    return source, folder_stamp([source["folder"]])


@asked
def photo_folder(w):
    return photo_facts(w.name)[0]


@asked
def photo_stamp(w):
    return photo_facts(w.name)[1]


@asked
def predict_inputs(w):
    require_apart(photo_facts(w.name)[0]["folder"], f"results/{w.dataset}/{w.method}/predict/{w.name}")
    model = artefact(w, "segmentation", "model.safetensors")
    facts = {name: path for name, path in manifest(w).items() if name != "manifest"}
    return {**facts, "model": model}


@asked
def predict_settings(w):
    return section(w, "predictions")
