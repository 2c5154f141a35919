# Whatever the source, results/{dataset}/manifest.csv comes out.


def dataset_inputs(w):
    """Downloads a VOC dataset needs because the user gave no folder of their own."""
    spec = plainly(CONFIG.dataset)(w.dataset)
    params = spec["params"]
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
    return plainly(CONFIG.dataset)(w.dataset)


def own_folders(w):
    return {k: v for k, v in dataset_spec(w)["params"].items() if k in ("path", "sbd", "trainaug") and v}


def dataset_stamp(w):
    """Changes when a file of a user's folder does (names, sizes, times); generated and official data need none."""
    spec = dataset_spec(w)
    if spec["kind"] != "folder":
        return None
    folders = [spec["params"].get(k) for k in ("images", "masks", "saliency", "labels")]
    return plainly(folder_stamp)([f for f in folders if f])


rule dataset:
    input:
        unpack(dataset_inputs),
    output:
        manifest="results/{dataset}/manifest.csv",
        dataset="results/{dataset}/dataset.json",
    log:
        "logs/{dataset}/dataset.log",
    benchmark:
        "logs/{dataset}/dataset.tsv"
    params:
        dataset=dataset_spec,
        name="{dataset}",
        stamp=dataset_stamp,
        code=code_version("wsss.stages.dataset"),
    conda:
        "../envs/dataset.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../workflow/scripts/dataset.py"


rule download:
    output:
        done="resources/{archive}/{archive}.json",
    log:
        "logs/download/{archive}.log",
    benchmark:
        "logs/download/{archive}.tsv"
    params:
        archive="{archive}",
        lock_file=workflow.basedir + "/config/checksums.json",
    wildcard_constraints:
        archive="voc12|sbd",
    conda:
        "../envs/dataset.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    localrule: True
    script:
        "../workflow/scripts/download.py"


rule aug_masks:
    input:
        unpack(aug_inputs),
    output:
        done="resources/{dataset}_aug/aug_masks.json",
    log:
        "logs/{dataset}/aug_masks.log",
    benchmark:
        "logs/{dataset}/aug_masks.tsv"
    params:
        folders=own_folders,
        code=code_version("wsss.stages.aug_masks"),
    conda:
        "../envs/dataset.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    script:
        "../workflow/scripts/aug_masks.py"
