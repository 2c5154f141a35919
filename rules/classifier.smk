# Train the network whose maps become CAMs.


def classifier_inputs(w):
    inputs = {**manifest(w), **weights_input(w, recipe_of(w)["backbone"])}
    labels_from = recipe_of(w)["classifier"].get("labels_from")
    if labels_from:
        inputs["labels"] = artefact_of(w, labels_from, "ir_labels", "index.json")
    return inputs


rule classifier:
    input:
        unpack(classifier_inputs),
    output:
        model="results/{dataset}/{method}/classifier/model.safetensors",
        history="results/{dataset}/{method}/classifier/history.csv",
    log:
        "logs/{dataset}/{method}/classifier.log",
    benchmark:
        "logs/{dataset}/{method}/classifier.tsv"
    params:
        settings=settings_of("classifier"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("classifier", with_net=True),
        net_options=net_options,
    conda:
        "../envs/classifier.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    script:
        "../workflow/scripts/classifier.py"
