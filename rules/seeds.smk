# CAM -> confident and unsure seed, by dense CRF.


rule seeds:
    input:
        unpack(seeds_inputs),
    output:
        index="results/{dataset}/{method}/seeds/index.json",
    log:
        "logs/{dataset}/{method}/seeds.log",
    benchmark:
        "logs/{dataset}/{method}/seeds.tsv"
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
