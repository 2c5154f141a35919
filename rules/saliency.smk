# Saliency maps of all training images, for recipes that learn from them and datasets that bring none.


rule saliency:
    input:
        unpack(from_plan.inputs("saliency")),
    output:
        index=from_plan.per_shard("results/{dataset}/saliency/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/saliency.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/saliency.tsv")
    conda:
        "../envs/saliency.yaml"
    threads: 16
    resources:
        gpu=from_plan.gpus("saliency"),
        mem_mb=8000,
        runtime=480,
    params:
        **from_plan.params("saliency"),
    script:
        "../workflow/scripts/saliency.py"
