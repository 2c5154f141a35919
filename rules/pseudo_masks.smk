# One mask per training image: a walk (IRN, AffinityNet), the CRF-refined seed, or a threshold.


rule pseudo_masks:
    input:
        unpack(plan.inputs("pseudo_masks")),
    output:
        index=plan.per_shard("results/{dataset}/{method}/pseudo_masks/index.json"),
    log:
        plan.per_shard("logs/{dataset}/{method}/pseudo_masks.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/{method}/pseudo_masks.tsv")
    conda:
        plan.torch_env("pseudo_masks")
    threads: 16
    resources:
        gpu=plan.gpus("pseudo_masks"),
        mem_mb=12000,
        runtime=480,
    params:
        **plan.params("pseudo_masks"),
    script:
        "../workflow/scripts/pseudo_masks.py"
