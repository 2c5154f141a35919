# Ground-truth label maps of COCO, painted from the instances JSON; of all its images, whatever the dataset's `list`.


rule coco_masks:
    input:
        unpack(from_plan.inputs("coco_masks")),
    output:
        index=from_plan.per_shard("resources/{dataset}_masks/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/coco_masks.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/coco_masks.tsv")
    conda:
        "../envs/coco_masks.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **from_plan.params("coco_masks"),
    script:
        "../workflow/scripts/coco_masks.py"
