# The segmentation network over whole images.


rule predictions:
    input:
        unpack(plan.inputs("predictions")),
    output:
        index=plan.per_shard("results/{dataset}/{method}/predictions/index.json"),
    log:
        plan.per_shard("logs/{dataset}/{method}/predictions.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/{method}/predictions.tsv")
    conda:
        plan.torch_env("predictions")
    threads: 16
    resources:
        gpu=plan.gpus("predictions"),
        mem_mb=16000,
        runtime=480,
    params:
        **plan.params("predictions"),
    script:
        "../workflow/scripts/predictions.py"
