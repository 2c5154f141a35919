# One mask per training image: a walk (IRN, AffinityNet), the CRF-refined seed, or a threshold.


rule pseudo_masks:
    input:
        unpack(from_plan.inputs("pseudo_masks")),
    output:
        index=from_plan.per_shard("results/{dataset}/{method}/pseudo_masks/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/{method}/pseudo_masks.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/{method}/pseudo_masks.tsv")
    conda:
        from_plan.torch_env("pseudo_masks")
    threads: 16
    resources:
        gpu=from_plan.gpus("pseudo_masks"),
        mem_mb=12000,
        runtime=480,
    params:
        **from_plan.params("pseudo_masks"),
    script:
        "../workflow/scripts/pseudo_masks.py"
