# IRN's boundary network, or AffinityNet.


rule affinity:
    input:
        unpack(plan.inputs("affinity")),
    output:
        model="results/{dataset}/{method}/affinity/model.safetensors",
        history="results/{dataset}/{method}/affinity/history.csv",
    log:
        "logs/{dataset}/{method}/affinity.log",
    benchmark:
        "logs/{dataset}/{method}/affinity.tsv"
    conda:
        plan.torch_env("affinity")
    threads: 8
    resources:
        gpu=plan.gpus("affinity"),
        mem_mb=16000,
        runtime=480,
    params:
        **plan.params("affinity"),
    script:
        "../workflow/scripts/affinity.py"
