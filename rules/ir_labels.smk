# Merge of the two seeds; 255 = unsure.


rule ir_labels:
    input:
        unpack(ir_labels_inputs),
    output:
        index=per_shard("results/{dataset}/{method}/ir_labels/index.json"),
    log:
        per_shard("logs/{dataset}/{method}/ir_labels.log"),
    benchmark:
        per_shard("logs/{dataset}/{method}/ir_labels.tsv")
    conda:
        "../envs/ir_labels.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=settings_of("ir_labels"),
        code=code_of("ir_labels"),
    script:
        "../workflow/scripts/ir_labels.py"
