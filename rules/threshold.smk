# The cut of a recipe's CAMs, found without ground truth; planned only where a recipe says `found`.


rule threshold:
    input:
        unpack(from_plan.inputs("threshold")),
    output:
        threshold="results/{dataset}/{method}/threshold/threshold.json",
    log:
        "logs/{dataset}/{method}/threshold.log",
    benchmark:
        "logs/{dataset}/{method}/threshold.tsv"
    conda:
        "../envs/threshold.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        **from_plan.params("threshold"),
    script:
        "../workflow/scripts/threshold.py"
