# A folder of the user's own photos through the trained segmentation network; `predict` in config/config.yaml names it.


rule predict:
    input:
        unpack(from_plan.inputs("predict")),
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
        from_plan.torch_env("predict")
    threads: 16
    resources:
        gpu=from_plan.gpus("predict"),
        mem_mb=16000,
        runtime=480,
    params:
        **from_plan.params("predict"),
    script:
        "../workflow/scripts/predict.py"
