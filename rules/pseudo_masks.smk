# One mask per training image: IRN's walk, the CRF-refined seed, or a threshold.


def pseudo_masks_inputs(w):
    refine = recipe_of(w)["refine"]
    if refine == "crf":
        return {**manifest(w), "seeds": artefact(w, "seeds", "index.json")}
    inputs = {**manifest(w), "cam": artefact(w, "cam", "index.json")}
    if refine == "irn":
        inputs["affinity"] = artefact(w, "affinity", "model.safetensors")
    return inputs


def pseudo_masks_settings(w):
    recipe = recipe_of(w)
    if recipe["refine"] == "none" and "pseudo_masks" not in recipe:
        return {"bg": recipe["evaluation"]["bg"]}
    return {} if recipe["refine"] == "crf" else settings_of("pseudo_masks")(w)


def refine_of(w):
    return recipe_of(w)["refine"]


def walk_network(w):
    return irn_network(w) if refine_of(w) == "irn" else None


rule pseudo_masks:
    input:
        unpack(pseudo_masks_inputs),
    output:
        index="results/{dataset}/{method}/pseudo_masks/index.json",
    log:
        "logs/{dataset}/{method}/pseudo_masks.log",
    benchmark:
        "logs/{dataset}/{method}/pseudo_masks.tsv"
    params:
        settings=pseudo_masks_settings,
        refine=refine_of,
        network=walk_network,
        compute=compute,
        code=code_of("pseudo_masks"),
    conda:
        "../envs/pseudo_masks.yaml"
    threads: 16
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=480,
    script:
        "../workflow/scripts/pseudo_masks.py"
