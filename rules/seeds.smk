# CAM -> confident and unsure seed, by dense CRF.


rule seeds:
    input:
        unpack(seeds_inputs),
    output:
        index=per_shard("results/{dataset}/{method}/seeds/index.json"),
    log:
        per_shard("logs/{dataset}/{method}/seeds.log"),
    benchmark:
        per_shard("logs/{dataset}/{method}/seeds.tsv")
    conda:
        "../envs/seeds.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=480,
    params:
        settings=settings_of("seeds"),
        code=code_of("seeds"),
    script:
        "../workflow/scripts/seeds.py"
