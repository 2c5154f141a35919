# What the rules read and are given: the dataset, the masks and maps made beside it, and ImageNet weights.


# --- dataset


@asked
def dataset_inputs(w):
    """Downloads a dataset needs because the user gave no folder of their own, and masks made beforehand."""
    spec = CONFIG.dataset(w.dataset)
    params = spec["params"]
    if spec["kind"] == "coco":
        check_coco(params)
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


@asked
def aug_inputs(w):
    inputs = {k: v for k, v in dataset_inputs(w).items() if k != "mask_train"}
    if not CONFIG.dataset(w.dataset)["params"].get("sbd"):
        inputs["sbd"] = "resources/sbd/sbd.json"
    return inputs


@asked
def dataset_spec(w):
    """What the builder reads; what else stands in the dataset's file concerns other stages."""
    spec = CONFIG.dataset(w.dataset)
    return {"kind": spec["kind"], "params": spec["params"]}


@asked
def own_folders(w):
    return {
        k: v for k, v in dataset_spec(w)["params"].items() if k in ("path", "sbd", "trainaug", "labels") and v
    }


@asked
def dataset_stamp(w):
    """Changes when a file of the user's does (names, sizes, times); generated and downloaded data need none."""
    return stamp(dataset_files(CONFIG.dataset(w.dataset)))


@asked
def expected_counts(w):
    return dataset_spec(w)["params"].get("expected_counts")


# --- coco_masks


def coco_archive(params):
    name = f"coco{params['year'] % 100}"
    return f"resources/{name}/{name}.json"


@asked
def coco_params(w):
    spec = dataset_spec(w)
    if spec["kind"] != "coco":
        raise WorkflowError(
            f"{w.dataset}: masks are made for datasets of kind coco only, this is of kind {spec['kind']}"
        )
    return spec["params"]


@asked
def coco_masks_inputs(w):
    """The user's annotation files, or the note of the downloaded folder they are in."""
    params = coco_params(w)
    if params.get("path"):
        return coco_annotations(params["path"], params["year"])
    return {"path": coco_archive(params)}


@asked
def coco_masks_settings(w):
    params = coco_params(w)
    return {"year": params["year"], "crowd": params.get("crowd", "class")}


# --- weights


@asked
def local_weights(w):
    """The user's own copy, watched like any input."""
    path = CONFIG.main["weights"].get(w.backbone)
    if path and not os.path.isfile(path):
        raise UserError(
            f"{path}: no such file; mend `weights: {w.backbone}` in config/config.yaml (null downloads)"
        )
    require_source(w.backbone, path)
    return {"local": path} if path else {}


@asked
def weights_code(w):
    """The MXNet reader makes resnet38d's weights only: an edit of it downloads no other again."""
    reader = ["wsss.nets.mxnet_params"] if w.backbone == "resnet38d" else []
    return code_version("wsss.nets.weights", *reader)


# --- saliency


@plainly
def made_saliency(dataset):
    """How the maps of a dataset are made, None where its own are used; without either nothing is planned."""
    return saliency_maker(CONFIG.dataset(dataset), f"config/datasets/{dataset}.yaml")


@asked
def saliency_settings(w):
    maker = made_saliency(w.dataset)
    if maker is None:
        raise WorkflowError(
            f"{w.dataset} has saliency maps of its own, so none are made; "
            f"`saliency: {{make: ...}}` without `fallback` in config/datasets/{w.dataset}.yaml makes others"
        )
    return maker


@asked
def saliency_inputs(w):
    """The dataset, and files that stand in the user's command: another script or other weights, other maps."""
    files = named_files(saliency_settings(w).get("command", "{list} {out}"))
    return {**manifest(w), **{f"file{number}": path for number, path in enumerate(files)}}


@asked
def saliency_gpu(w):
    """GPUs of the saliency rule: a user's model gets one."""
    return int(saliency_settings(w)["make"] == "command")


@asked
def learns_from_saliency(w):
    """Whether any network behind a method's scores was trained with saliency maps."""
    links = behind(CONFIG, base_name(w.method), w.dataset, "predictions")
    classifiers = [CONFIG.recipe(name, w.dataset)[stage] for name, stage in links if stage == "classifier"]
    return any(section.get("saliency") for section in classifiers)
