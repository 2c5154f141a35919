# IRN's boundary network.


def affinity_inputs(w):
    inputs = {**manifest(w), "ir_labels": artefact(w, "ir_labels", "index.json")}
    if recipe_of(w)["affinity"]["trunk"] == "classifier":
        inputs["classifier"] = artefact(w, "classifier", "model.safetensors")
        return inputs
    return {**inputs, **weights_input(w, recipe_of(w)["affinity"]["backbone"])}


def irn_network(w):
    """What build_network needs, for training and for inference alike."""
    recipe = recipe_of(w)
    facts = {k: recipe["affinity"][k] for k in ("backbone", "radius", "displacement")}
    return {**facts, "pad_to": recipe["pseudo_masks"]["pad_to"]}


rule affinity:
    input:
        unpack(affinity_inputs),
    output:
        model="results/{dataset}/{method}/affinity/model.safetensors",
        history="results/{dataset}/{method}/affinity/history.csv",
    log:
        "logs/{dataset}/{method}/affinity.log",
    benchmark:
        "logs/{dataset}/{method}/affinity.tsv"
    params:
        settings=settings_of("affinity"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("affinity"),
        network=irn_network,
    conda:
        "../envs/affinity.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=480,
    script:
        "../workflow/scripts/affinity.py"
