# One mask per training image: a walk (IRN, AffinityNet), the CRF-refined seed, or a threshold.


rule pseudo_masks:
    input:
        unpack(pseudo_masks_inputs),
    output:
        index=per_shard("results/{dataset}/{method}/pseudo_masks/index.json"),
    log:
        per_shard("logs/{dataset}/{method}/pseudo_masks.log"),
    benchmark:
        per_shard("logs/{dataset}/{method}/pseudo_masks.tsv")
    conda:
        torch_env("pseudo_masks")
    threads: 16
    resources:
        gpu=walk_gpu,
        mem_mb=12000,
        runtime=480,
    params:
        settings=pseudo_masks_settings,
        refine=refine_of,
        network=walk_network,
        compute=compute,
        code=code_of("pseudo_masks"),
    script:
        "../workflow/scripts/pseudo_masks.py"
