# Multi-scale CAMs of all training images.


rule cam:
    input:
        unpack(from_plan.inputs("cam")),
    output:
        index=from_plan.per_shard("results/{dataset}/{method}/cam/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/{method}/cam.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/{method}/cam.tsv")
    conda:
        from_plan.torch_env("cam")
    threads: 8
    resources:
        gpu=from_plan.gpus("cam"),
        mem_mb=16000,
        runtime=240,
    params:
        **from_plan.params("cam"),
    script:
        "../workflow/scripts/cam.py"
