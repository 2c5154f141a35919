# Scores of everything a method made.


def masks_made(w):
    """Indexes of what a method makes of images, by name."""
    recipe = recipe_of(w)
    if recipe["segmentation"]["labels"] == "ground_truth":
        names = ["predictions"]
    elif recipe["refine"] == "none":
        names = ["cam", "pseudo_masks", "predictions"]
    else:
        names = ["cam", "seeds", "pseudo_masks", "predictions"]
    return {name: artefact(w, name, "index.json") for name in names}


def evaluation_inputs(w):
    if not has_ground_truth(w.dataset):
        raise WorkflowError(
            f"{w.dataset} has no ground-truth masks, so there is no mIoU; "
            f"ask for results/{w.dataset}/{w.method}/predictions/index.json"
        )
    return {**manifest(w), **masks_made(w)}


def supervision(w):
    labels = recipe_of(w)["segmentation"]["labels"]
    return "image labels" if labels == "pseudo_masks" else "ground-truth masks (full supervision)"


def segmentation_weights(w):
    recipe = recipe_of(w)
    return f"{recipe['segmentation']['backbone']}, {recipe['weights']}"


def test_scales(w):
    settings = recipe_of(w)["predictions"]
    return f"{settings['scales']}" + (" + flip" if settings["flip"] else "")


def chain_code(w):
    """One digest for the code of the whole chain, for the record."""
    modules = [f"wsss.stages.{stage}" for stage in STAGES]
    return code_version(*modules, methods.module_path(recipe_of(w)["net"]))


rule evaluation:
    input:
        unpack(evaluation_inputs),
    output:
        miou="results/{dataset}/{method}/miou.txt",
        scores="results/{dataset}/{method}/scores.json",
        sweep="results/{dataset}/{method}/sweep.csv",
    log:
        "logs/{dataset}/{method}/evaluation.log",
    benchmark:
        "logs/{dataset}/{method}/evaluation.tsv"
    params:
        settings=settings_of("evaluation"),
        recipe=recipe_facts,
        seed=seed_of,
        supervision=supervision,
        segmentation_weights=segmentation_weights,
        test_scales=test_scales,
        chain_code=chain_code,
        code=code_of("evaluation"),
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../workflow/scripts/evaluation.py"
