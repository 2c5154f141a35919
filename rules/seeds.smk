# CAM -> confident and unsure seed, by dense CRF.


rule seeds:
    input:
        unpack(plan.inputs("seeds")),
    output:
        index=plan.per_shard("results/{dataset}/{method}/seeds/index.json"),
    log:
        plan.per_shard("logs/{dataset}/{method}/seeds.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/{method}/seeds.tsv")
    conda:
        plan.torch_env("seeds")
    threads: 16
    resources:
        gpu=plan.gpus("seeds"),
        mem_mb=8000,
        runtime=480,
    params:
        **plan.params("seeds"),
    script:
        "../workflow/scripts/seeds.py"
