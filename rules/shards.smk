# With `runtime.shards` above 1, when a per-image stage runs in so many jobs: the index of what they declare.


wildcard_constraints:
    shard="[0-9]+",
    shards="[0-9]+",


rule merge:
    input:
        from_plan.shards_of("results/{dataset}/{method}/{stage}"),
    output:
        index="results/{dataset}/{method}/{stage}/index.json",
    log:
        "logs/{dataset}/{method}/{stage}.log",
    benchmark:
        "logs/{dataset}/{method}/{stage}.tsv"
    wildcard_constraints:
        stage="cam|seeds|ir_labels|pseudo_masks|predictions",
    localrule: True
    conda:
        "../envs/merge.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **from_plan.params("merge"),
    script:
        "../workflow/scripts/merge.py"


use rule merge as merge_saliency with:
    input:
        from_plan.shards_of("results/{dataset}/saliency"),
    output:
        index="results/{dataset}/saliency/index.json",
    log:
        "logs/{dataset}/saliency.log",
    benchmark:
        "logs/{dataset}/saliency.tsv"


use rule merge as merge_coco_masks with:
    input:
        from_plan.shards_of("resources/{dataset}_masks"),
    output:
        index="resources/{dataset}_masks/index.json",
    log:
        "logs/{dataset}/coco_masks.log",
    benchmark:
        "logs/{dataset}/coco_masks.tsv"
