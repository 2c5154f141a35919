# What each rule reads and is given, stage by stage; the rules themselves stand in their own files.


# --- dataset


def dataset_inputs(w):
    """Downloads a dataset needs because the user gave no folder of their own, and masks made beforehand."""
    spec = plainly(CONFIG.dataset)(w.dataset)
    params = spec["params"]
    if spec["kind"] == "coco":
        plainly(check_coco)(params)
        masks = {"masks": f"resources/{w.dataset}_masks/index.json"}
        return masks if params.get("path") else {"path": coco_archive(params), **masks}
    if spec["kind"] != "voc":
        return {}
    inputs = {}
    if not params.get("path"):
        inputs["path"] = "resources/voc12/voc12.json"
        if not params.get("sbd") and not params.get("trainaug"):
            inputs["sbd"] = "resources/sbd/sbd.json"
    if params.get("aug_masks"):
        inputs["mask_train"] = f"resources/{w.dataset}_aug/aug_masks.json"
    return inputs


def aug_inputs(w):
    inputs = {k: v for k, v in dataset_inputs(w).items() if k != "mask_train"}
    if not CONFIG.dataset(w.dataset)["params"].get("sbd"):
        inputs["sbd"] = "resources/sbd/sbd.json"
    return inputs


def dataset_spec(w):
    """What the builder reads; what else stands in the dataset's file concerns other stages."""
    spec = plainly(CONFIG.dataset)(w.dataset)
    return {"kind": spec["kind"], "params": spec["params"]}


def own_folders(w):
    return {
        k: v for k, v in dataset_spec(w)["params"].items() if k in ("path", "sbd", "trainaug", "labels") and v
    }


@functools.cache
def stamp_of(dataset):
    paths = own_data(plainly(CONFIG.dataset)(dataset))
    return plainly(folder_stamp)(paths) if paths else None


def dataset_stamp(w):
    """Changes when a file of the user's does (names, sizes, times); generated and downloaded data need none."""
    return stamp_of(w.dataset)


def expected_counts(w):
    return dataset_spec(w)["params"].get("expected_counts")


# --- coco_masks


def coco_archive(params):
    name = f"coco{params['year'] % 100}"
    return f"resources/{name}/{name}.json"


def coco_params(w):
    spec = dataset_spec(w)
    if spec["kind"] != "coco":
        raise WorkflowError(
            f"{w.dataset}: masks are made for datasets of kind coco only, this is of kind {spec['kind']}"
        )
    return spec["params"]


def coco_masks_inputs(w):
    """The user's annotation files, or the note of the downloaded folder they are in."""
    params = coco_params(w)
    if params.get("path"):
        return plainly(coco_annotations)(params["path"], params["year"])
    return {"path": coco_archive(params)}


def coco_masks_settings(w):
    params = coco_params(w)
    return {"year": params["year"], "crowd": params.get("crowd", "class")}


# --- weights


@plainly
def local_weights(w):
    """The user's own copy, watched like any input."""
    path = CONFIG.main["weights"].get(w.backbone)
    if path and not os.path.isfile(path):
        raise UserError(
            f"{path}: no such file; mend `weights: {w.backbone}` in config/config.yaml (null downloads)"
        )
    require_source(w.backbone, path)
    return {"local": path} if path else {}


def weights_code(w):
    """The MXNet reader makes resnet38d's weights only: an edit of it downloads no other again."""
    reader = ["wsss.nets.mxnet_params"] if w.backbone == "resnet38d" else []
    return code_version("wsss.nets.weights", *reader)


# --- saliency


@plainly
def made_saliency(dataset):
    """How the maps of a dataset are made, None where its own are used; without either nothing is planned."""
    return saliency_maker(CONFIG.dataset(dataset), f"config/datasets/{dataset}.yaml")


def saliency_settings(w):
    maker = made_saliency(w.dataset)
    if maker is None:
        raise WorkflowError(
            f"{w.dataset} has saliency maps of its own, so none are made; "
            f"`saliency: {{make: ...}}` without `fallback` in config/datasets/{w.dataset}.yaml makes others"
        )
    return maker


def saliency_inputs(w):
    """The dataset, and files that stand in the user's command: another script or other weights, other maps."""
    files = named_files(saliency_settings(w).get("command", "{list} {out}"))
    return {**manifest(w), **{f"file{number}": path for number, path in enumerate(files)}}


def saliency_gpu(w):
    """GPUs of the saliency rule: a user's model gets one."""
    return int(saliency_settings(w)["make"] == "command")


def learns_from_saliency(w):
    """Whether any network behind a method's scores was trained with saliency maps."""
    links = behind(CONFIG, method_base(w.method), w.dataset, "predictions")
    classifiers = [CONFIG.recipe(name, w.dataset)[stage] for name, stage in links if stage == "classifier"]
    return any(section.get("saliency") for section in classifiers)


# --- classifier


def classifier_inputs(w):
    inputs = {**manifest(w), **weights_input(w, recipe_of(w)["backbone"])}
    labels_from = recipe_of(w)["classifier"].get("labels_from")
    if labels_from:
        inputs["labels"] = artefact_of(w, labels_from, "ir_labels", "index.json")
    if recipe_of(w)["classifier"].get("saliency") and made_saliency(w.dataset):
        inputs["saliency"] = f"results/{w.dataset}/saliency/index.json"
    return inputs


# --- cam


def cam_inputs(w):
    inputs = {**manifest(w), "model": artefact(w, "classifier", "model.safetensors")}
    aux_from = recipe_of(w)["cam"].get("aux_from")
    if aux_from:
        inputs["ir_labels"] = artefact_of(w, aux_from, "ir_labels", "index.json")
    return inputs


# --- seeds


def seeds_inputs(w):
    return {**manifest(w), "cam": artefact(w, "cam", "index.json")}


# --- ir_labels


@plainly
def ir_labels_inputs(w):
    refuse_imported_seeds(section(w, "seeds"), maker(w, "seeds").method, "IR labels are made of two passes")
    return {**manifest(w), "seeds": artefact(w, "seeds", "index.json")}


# --- affinity


@plainly
def affinity_labels(w):
    """What the network learns from: IR labels, or the probabilities beside the seeds."""
    if refine_of(w) == "affinitynet":
        owner = maker(w, "seeds").method
        refuse_imported_seeds(section(w, "seeds"), owner, "AffinityNet learns from the CRF's probabilities")
        require_probabilities(section(w, "seeds"), owner)
        return {"seeds": artefact(w, "seeds", "index.json")}
    return {"ir_labels": artefact(w, "ir_labels", "index.json")}


def affinity_inputs(w):
    settings = settings_of("affinity")(w)
    inputs = {**manifest(w), **affinity_labels(w)}
    if settings["trunk"] == "classifier":
        inputs["classifier"] = artefact(w, "classifier", "model.safetensors")
        return inputs
    return {**inputs, **weights_input(w, settings["backbone"])}


@plainly
def walk_network(w):
    """What build_network needs, for training and for inference alike; None where nothing walks."""
    refine = refine_of(w)
    if refine not in WALKS:
        return None
    owner = maker(w, "affinity")
    if "import" in section(w, "affinity"):
        facts = read_facts(artefact(w, "affinity", "model.safetensors"))
        require_same_walk(refine, f"{owner.method} (imported)", facts["refine"])
        return facts["settings"]
    require_same_walk(refine, owner.method, refine_of(owner))
    return {k: section(w, "affinity")[k] for k in NETWORK[refine]}


# --- pseudo_masks


def pseudo_masks_inputs(w):
    refine = recipe_of(w)["refine"]
    if refine == "crf":
        return {**manifest(w), "seeds": artefact(w, "seeds", "index.json")}
    inputs = {**manifest(w), "cam": artefact(w, "cam", "index.json")}
    if refine in WALKS:
        inputs["affinity"] = artefact(w, "affinity", "model.safetensors")
    return inputs


def pseudo_masks_settings(w):
    recipe = recipe_of(w)
    if recipe["refine"] == "none" and "pseudo_masks" not in recipe:
        return {"bg": section(w, "evaluation")["bg"]}
    return {} if recipe["refine"] == "crf" else settings_of("pseudo_masks")(w)


def refine_of(w):
    return recipe_of(w)["refine"]


def walk_gpu(w):
    """GPUs of the pseudo_masks rule: only the walk uses one."""
    return int(refine_of(w) in WALKS)


# --- segmentation


def segmentation_inputs(w):
    inputs = {**manifest(w), **weights_input(w, section(w, "segmentation")["backbone"])}
    if section(w, "segmentation")["labels"] == "pseudo_masks":
        inputs["pseudo_masks"] = artefact(w, "pseudo_masks", "index.json")
    return inputs


def segmentation_net(w):
    return section(w, "segmentation").get("net", segmenters.DEFAULT)


def segmentation_network(w):
    network = {k: section(w, "segmentation")[k] for k in ("backbone", "options")}
    return {"net": segmentation_net(w), **network}


# --- predictions


def predictions_inputs(w):
    return {**manifest(w), "model": artefact(w, "segmentation", "model.safetensors")}


# --- predict


@functools.cache
def photo_facts(name):
    """Folder and size limit of an entry of `predict`, and what changes whenever a photo does."""
    source = plainly(photo_source)(config.get("predict") or {}, name)
    plainly(find_photos)(source["folder"])  # a wrong folder ends here, before anything runs
    return source, folder_stamp([source["folder"]])


def photo_folder(w):
    return photo_facts(w.name)[0]


def photo_stamp(w):
    return photo_facts(w.name)[1]


def predict_inputs(w):
    photo_facts(w.name)
    model = artefact(w, "segmentation", "model.safetensors")
    return {"dataset": f"results/{w.dataset}/dataset.json", "model": model}


def predict_settings(w):
    return section(w, "predictions")


# --- evaluation


def imports_of(w, stage="predictions"):
    """Stage -> name of its import, of all that a stage of the method rests on."""
    return imports_behind(CONFIG, method_base(w.method), w.dataset, stage)


def stages_of(w):
    """The stages that run, or are imported, on the way to the method's predictions."""
    return {stage for _, stage in behind(CONFIG, method_base(w.method), w.dataset, "predictions")}


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


def evaluation_inputs(w):
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
    return {**manifest(w), **masks, **models}


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
    return {**manifest(w), **masks, **models}


def supervision(w):
    """What the method learns from, as far as it is known here."""
    imported = sorted(imports_of(w))
    unknown = f", and whatever the imported {', '.join(imported)} learnt from" if imported else ""
    return f"{own_supervision(w)}{unknown}"


def imported_sources(w):
    """Index that is scored -> what is imported behind it, in words; plain names where nothing is."""
    found = {name: imports_of(w, name) for name in masks_made(w)}
    tell = plainly(described)
    return {
        name: "; ".join(tell(w.dataset, import_name, stage) for stage, import_name in sorted(imports.items()))
        for name, imports in found.items()
        if imports
    }


def own_supervision(w):
    if section(w, "segmentation")["labels"] == "ground_truth":
        return "ground-truth masks (full supervision)"
    if not learns_from_saliency(w):
        return "image labels"
    maker = made_saliency(w.dataset)
    source = f"made by {maker['make']}" if maker else "given"
    return f"image labels + saliency maps ({source})"


def backbones(w):
    """Trunk of each network behind the scores."""
    return {
        name: recipe_of(row).get(name, {}).get("backbone", recipe_of(row)["backbone"])
        for name, row in makers(w).items()
        if not (name == "affinity" and "import" in recipe_of(row)[name])
    }


def made_refine(w):
    row = maker(w, "pseudo_masks")
    return "imported" if "import" in recipe_of(row).get("pseudo_masks", {}) else refine_of(row)


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


def test_scales(w):
    settings = section(w, "predictions")
    flip = ", flipped too" if settings["flip"] else ""
    return f"{settings['scales']}{flip}"


def chain_code(w):
    """One digest for the code of the whole chain, for the record."""
    recipes = CONFIG.sources(method_base(w.method), w.dataset)
    nets = {methods.module_path(CONFIG.recipe(name, w.dataset)["net"]) for name in recipes}
    refines = {CONFIG.recipe(name, w.dataset)["refine"] for name in recipes}
    nets |= {parts[refine] for refine in refines & set(WALKS) for parts in (walks.LEARNERS, walks.WALKERS)}
    nets.add(segmenters.module_path(segmentation_net(w)))
    saliency = ["wsss.stages.saliency"] if learns_from_saliency(w) and made_saliency(w.dataset) else []
    return code_version(*[f"wsss.stages.{stage}" for stage in STAGES], *saliency, *nets)


# --- report


def panels_inputs(w):
    inputs = {**manifest(w), **masks_made(w)}
    has_both_seeds = "seeds" in inputs and "import" not in section(w, "seeds")
    if has_both_seeds or "ir_labels" in imports_of(w):
        inputs["ir_labels"] = artefact(w, "ir_labels", "index.json")
    return inputs


def seed_bg(w):
    return section(w, "evaluation")["bg"]


def histories(w):
    """Training histories of a method, its own and those it takes from other recipes; an imported model has none."""
    return {
        name: artefact(row, name, "history.csv")
        for name, row in makers(w).items()
        if "import" not in recipe_of(row).get(name, {})
    }


def report_rows(w):
    return [Row(w.dataset, method) for method in configured_methods()]


def report_inputs(w):
    files = []
    for row in report_rows(w):
        folder = f"results/{row.dataset}/{row.method}"
        files += [
            f"{folder}/scores.json",
            f"{folder}/sweep.csv",
            f"{folder}/panels/index.json",
            *histories(row).values(),
        ]
    return {**manifest(w), "files": files}


def report_methods(w):
    return [
        {
            "name": row.method,
            "folder": f"results/{row.dataset}/{row.method}",
            "history": histories(row),
            "panels": f"results/{row.dataset}/{row.method}/panels/index.json",
        }
        for row in report_rows(w)
    ]


def panel_count(w):
    return config["report"]["panels"]


# --- shards


def merge_inputs(w):
    return shards_of(f"results/{w.dataset}/{w.method}/{w.stage}")


def merge_saliency_inputs(w):
    return shards_of(f"results/{w.dataset}/saliency")


def merge_coco_masks_inputs(w):
    return shards_of(f"resources/{w.dataset}_masks")
