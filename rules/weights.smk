# ImageNet weights of the trunks, shared by all datasets.


rule weights:
    input:
        unpack(plan.inputs("weights")),
    output:
        weights="resources/weights/{backbone}.safetensors",
    log:
        "logs/weights/{backbone}.log",
    benchmark:
        "logs/weights/{backbone}.tsv"
    localrule: True
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=60,
    params:
        **plan.params("weights"),
        backbone="{backbone}",
        lock_file=plan.lock_file,
    script:
        "../workflow/scripts/weights.py"
