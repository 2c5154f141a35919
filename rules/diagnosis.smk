# What a method's stages say of themselves, without ground truth.


rule diagnosis:
    input:
        unpack(diagnosis_inputs),
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
        recipe=recipe_facts,
        bg=seed_bg,
        cuts=cuts,
        code=code_version("wsss.stages.diagnosis"),
    script:
        "../workflow/scripts/diagnosis.py"
