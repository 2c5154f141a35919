# Saliency maps of all training images, for recipes that learn from them and datasets that bring none.


rule saliency:
    input:
        unpack(plan.inputs("saliency")),
    output:
        index=plan.per_shard("results/{dataset}/saliency/index.json"),
    log:
        plan.per_shard("logs/{dataset}/saliency.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/saliency.tsv")
    conda:
        "../envs/saliency.yaml"
    threads: 16
    resources:
        gpu=plan.gpus("saliency"),
        mem_mb=8000,
        runtime=480,
    params:
        **plan.params("saliency"),
    script:
        "../workflow/scripts/saliency.py"
