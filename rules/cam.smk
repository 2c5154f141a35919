# Multi-scale CAMs of all training images.


def cam_inputs(w):
    inputs = {**manifest(w), "model": artefact(w, "classifier", "model.safetensors")}
    aux_from = recipe_of(w)["cam"].get("aux_from")
    if aux_from:
        inputs["ir_labels"] = artefact_of(w, aux_from, "ir_labels", "index.json")
    return inputs


rule cam:
    input:
        unpack(cam_inputs),
    output:
        index="results/{dataset}/{method}/cam/index.json",
    log:
        "logs/{dataset}/{method}/cam.log",
    benchmark:
        "logs/{dataset}/{method}/cam.tsv"
    params:
        settings=settings_of("cam"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("cam", with_net=True),
        net_options=net_options,
    conda:
        "../envs/cam.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=240,
    script:
        "../workflow/scripts/cam.py"
