# A folder of the user's own photos through the trained segmentation network; `predict` in config/config.yaml names it.


rule predict:
    input:
        unpack(predict_inputs),
    output:
        index="results/{dataset}/{method}/predict/{name}/index.json",
        areas="results/{dataset}/{method}/predict/{name}/areas.csv",
    log:
        "logs/{dataset}/{method}/predict/{name}.log",
    benchmark:
        "logs/{dataset}/{method}/predict/{name}.tsv"
    wildcard_constraints:
        name="[a-z0-9_]+",
    conda:
        torch_env("predict")
    threads: 16
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=480,
    params:
        settings=predict_settings,
        photos=photo_folder,
        stamp=photo_stamp,
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("predict"),
        network=segmentation_network,
    script:
        "../workflow/scripts/predict.py"
