# Ground-truth label maps of COCO, painted from the instances JSON; of all its images, whatever the dataset's `list`.


rule coco_masks:
    input:
        unpack(plan.inputs("coco_masks")),
    output:
        index=plan.per_shard("resources/{dataset}_masks/index.json"),
    log:
        plan.per_shard("logs/{dataset}/coco_masks.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/coco_masks.tsv")
    conda:
        "../envs/coco_masks.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **plan.params("coco_masks"),
    script:
        "../workflow/scripts/coco_masks.py"
