# With `runtime.shards` above 1: each per-image stage in so many jobs, and the index made of what they declare.


wildcard_constraints:
    shard="[0-9]+",
    shards="[0-9]+",


ruleorder: merge > cam > seeds > ir_labels > pseudo_masks > predictions
ruleorder: merge_saliency > saliency
ruleorder: merge_coco_masks > coco_masks


rule merge:
    input:
        merge_inputs,
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
        shards=shard_count(),
        code=code_version("wsss.stages.merge"),
    script:
        "../workflow/scripts/merge.py"


use rule merge as merge_saliency with:
    input:
        merge_saliency_inputs,
    output:
        index="results/{dataset}/saliency/index.json",
    log:
        "logs/{dataset}/saliency.log",
    benchmark:
        "logs/{dataset}/saliency.tsv"


use rule merge as merge_coco_masks with:
    input:
        merge_coco_masks_inputs,
    output:
        index="resources/{dataset}_masks/index.json",
    log:
        "logs/{dataset}/coco_masks.log",
    benchmark:
        "logs/{dataset}/coco_masks.tsv"


use rule cam as cam_shard with:
    output:
        index="results/{dataset}/{method}/cam/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/{method}/cam/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/{method}/cam/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule seeds as seeds_shard with:
    output:
        index="results/{dataset}/{method}/seeds/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/{method}/seeds/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/{method}/seeds/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule ir_labels as ir_labels_shard with:
    output:
        index="results/{dataset}/{method}/ir_labels/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/{method}/ir_labels/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/{method}/ir_labels/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule pseudo_masks as pseudo_masks_shard with:
    output:
        index="results/{dataset}/{method}/pseudo_masks/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/{method}/pseudo_masks/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/{method}/pseudo_masks/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule predictions as predictions_shard with:
    output:
        index="results/{dataset}/{method}/predictions/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/{method}/predictions/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/{method}/predictions/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule saliency as saliency_shard with:
    output:
        index="results/{dataset}/saliency/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/saliency/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/saliency/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",


use rule coco_masks as coco_masks_shard with:
    output:
        index="resources/{dataset}_masks/shards/{shard}of{shards}.json",
    log:
        "logs/{dataset}/coco_masks/{shard}of{shards}.log",
    benchmark:
        "logs/{dataset}/coco_masks/{shard}of{shards}.tsv"
    params:
        shard="{shard}of{shards}",
