# What a method's stages say of themselves, without ground truth.


rule diagnosis:
    input:
        unpack(from_plan.inputs("diagnosis")),
    output:
        diagnosis="results/{dataset}/{method}/diagnosis.json",
        text="results/{dataset}/{method}/diagnosis.txt",
    log:
        "logs/{dataset}/{method}/diagnosis.log",
    benchmark:
        "logs/{dataset}/{method}/diagnosis.tsv"
    conda:
        "../envs/diagnosis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **from_plan.params("diagnosis"),
    script:
        "../workflow/scripts/diagnosis.py"
