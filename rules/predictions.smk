# The segmentation network over whole images.


rule predictions:
    input:
        unpack(from_plan.inputs("predictions")),
    output:
        index=from_plan.per_shard("results/{dataset}/{method}/predictions/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/{method}/predictions.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/{method}/predictions.tsv")
    conda:
        from_plan.torch_env("predictions")
    threads: 16
    resources:
        gpu=from_plan.gpus("predictions"),
        mem_mb=16000,
        runtime=480,
    params:
        **from_plan.params("predictions"),
    script:
        "../workflow/scripts/predictions.py"
