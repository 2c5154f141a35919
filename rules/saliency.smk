# Saliency maps of all training images, for recipes that learn from them and datasets that bring none.


rule saliency:
    input:
        unpack(saliency_inputs),
    output:
        index=per_shard("results/{dataset}/saliency/index.json"),
    log:
        per_shard("logs/{dataset}/saliency.log"),
    benchmark:
        per_shard("logs/{dataset}/saliency.tsv")
    conda:
        "../envs/saliency.yaml"
    threads: 16
    resources:
        gpu=saliency_gpu,
        mem_mb=8000,
        runtime=480,
    params:
        settings=saliency_settings,
        code=code_version("wsss.stages.saliency"),
    script:
        "../workflow/scripts/saliency.py"
