# IRN's boundary network, or AffinityNet.


rule affinity:
    input:
        unpack(from_plan.inputs("affinity")),
    output:
        model="results/{dataset}/{method}/affinity/model.safetensors",
        history="results/{dataset}/{method}/affinity/history.csv",
    log:
        "logs/{dataset}/{method}/affinity.log",
    benchmark:
        "logs/{dataset}/{method}/affinity.tsv"
    conda:
        from_plan.torch_env("affinity")
    threads: 8
    resources:
        gpu=from_plan.gpus("affinity"),
        mem_mb=16000,
        runtime=480,
    params:
        **from_plan.params("affinity"),
    script:
        "../workflow/scripts/affinity.py"
