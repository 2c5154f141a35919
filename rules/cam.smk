# Multi-scale CAMs of all training images.


rule cam:
    input:
        unpack(plan.inputs("cam")),
    output:
        index=plan.per_shard("results/{dataset}/{method}/cam/index.json"),
    log:
        plan.per_shard("logs/{dataset}/{method}/cam.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/{method}/cam.tsv")
    conda:
        plan.torch_env("cam")
    threads: 8
    resources:
        gpu=plan.gpus("cam"),
        mem_mb=16000,
        runtime=240,
    params:
        **plan.params("cam"),
    script:
        "../workflow/scripts/cam.py"
