# Merge of the two seeds; 255 = unsure.


rule ir_labels:
    input:
        unpack(from_plan.inputs("ir_labels")),
    output:
        index=from_plan.per_shard("results/{dataset}/{method}/ir_labels/index.json"),
    log:
        from_plan.per_shard("logs/{dataset}/{method}/ir_labels.log"),
    benchmark:
        from_plan.per_shard("logs/{dataset}/{method}/ir_labels.tsv")
    conda:
        "../envs/ir_labels.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        **from_plan.params("ir_labels"),
    script:
        "../workflow/scripts/ir_labels.py"
