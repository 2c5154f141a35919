# IRN's boundary network, or AffinityNet.


rule affinity:
    input:
        unpack(affinity_inputs),
    output:
        model="results/{dataset}/{method}/affinity/model.safetensors",
        history="results/{dataset}/{method}/affinity/history.csv",
    log:
        "logs/{dataset}/{method}/affinity.log",
    benchmark:
        "logs/{dataset}/{method}/affinity.tsv"
    conda:
        torch_env("affinity")
    threads: 8
    resources:
        gpu=training_gpus,
        mem_mb=16000,
        runtime=480,
    params:
        settings=settings_of("affinity"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=training_compute,
        code=code_of("affinity"),
        refine=refine_of,
        network=walk_network,
    script:
        "../workflow/scripts/affinity.py"
