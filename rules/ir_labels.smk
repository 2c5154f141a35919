# Merge of the two seeds; 255 = unsure.


rule ir_labels:
    input:
        unpack(plan.inputs("ir_labels")),
    output:
        index=plan.per_shard("results/{dataset}/{method}/ir_labels/index.json"),
    log:
        plan.per_shard("logs/{dataset}/{method}/ir_labels.log"),
    benchmark:
        plan.per_shard("logs/{dataset}/{method}/ir_labels.tsv")
    conda:
        "../envs/ir_labels.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        **plan.params("ir_labels"),
    script:
        "../workflow/scripts/ir_labels.py"
