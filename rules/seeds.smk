# CAM -> confident and unsure seed, by dense CRF.


rule seeds:
    input:
        unpack(from_plan.inputs("seeds")),
    output:
        index=from_plan.per_shard("results/{dataset}/{method}/seeds/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/{method}/seeds.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/{method}/seeds.tsv")
    conda:
        from_plan.torch_env("seeds")
    threads: 16
    resources:
        gpu=from_plan.gpus("seeds"),
        mem_mb=8000,
        runtime=480,
    params:
        **from_plan.params("seeds"),
    script:
        "../workflow/scripts/seeds.py"
