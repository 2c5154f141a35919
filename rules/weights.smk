# ImageNet weights of the trunks, shared by all datasets.


rule weights:
    input:
        unpack(local_weights),
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
        backbone="{backbone}",
        lock_file=LOCK_FILE,
        code=weights_code,
    script:
        "../workflow/scripts/weights.py"
