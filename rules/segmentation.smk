# DeepLab-V2 on pseudo-masks, or on ground truth (method full).


def segmentation_inputs(w):
    recipe = recipe_of(w)
    inputs = {**manifest(w), **weights_input(w, recipe["segmentation"]["backbone"])}
    if recipe["segmentation"]["labels"] == "pseudo_masks":
        inputs["pseudo_masks"] = artefact(w, "pseudo_masks", "index.json")
    return inputs


def segmentation_network(w):
    return {k: recipe_of(w)["segmentation"][k] for k in ("backbone", "options")}


rule segmentation:
    input:
        unpack(segmentation_inputs),
    output:
        model="results/{dataset}/{method}/segmentation/model.safetensors",
        history="results/{dataset}/{method}/segmentation/history.csv",
    log:
        "logs/{dataset}/{method}/segmentation.log",
    benchmark:
        "logs/{dataset}/{method}/segmentation.tsv"
    params:
        settings=settings_of("segmentation"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("segmentation"),
        network=segmentation_network,
    conda:
        "../envs/segmentation.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=1440,
    script:
        "../workflow/scripts/segmentation.py"
