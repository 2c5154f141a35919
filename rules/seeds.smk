# CAM -> confident and unsure seed, by dense CRF.


def seeds_inputs(w):
    return {**manifest(w), "cam": artefact(w, "cam", "index.json")}


rule seeds:
    input:
        unpack(seeds_inputs),
    output:
        index="results/{dataset}/{method}/seeds/index.json",
    log:
        "logs/{dataset}/{method}/seeds.log",
    benchmark:
        "logs/{dataset}/{method}/seeds.tsv"
    params:
        settings=settings_of("seeds"),
        code=code_of("seeds"),
    conda:
        "../envs/seeds.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=480,
    script:
        "../workflow/scripts/seeds.py"
