# ImageNet weights of the trunks, shared by all datasets.


def local_weights(w):
    return CONFIG.main["weights"].get(w.backbone)


rule weights:
    output:
        weights="resources/weights/{backbone}.safetensors",
    log:
        "logs/weights/{backbone}.log",
    benchmark:
        "logs/weights/{backbone}.tsv"
    params:
        backbone="{backbone}",
        local=local_weights,
        lock_file=workflow.basedir + "/config/checksums.json",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    localrule: True
    script:
        "../workflow/scripts/weights.py"
