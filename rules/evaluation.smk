# Scores of everything a method made.


rule evaluation:
    input:
        unpack(from_plan.inputs("evaluation")),
    output:
        miou="results/{dataset}/{method}/miou.txt",
        scores="results/{dataset}/{method}/scores.json",
        sweep="results/{dataset}/{method}/sweep.csv",
        per_image="results/{dataset}/{method}/per_image.csv",
    log:
        "logs/{dataset}/{method}/evaluation.log",
    benchmark:
        "logs/{dataset}/{method}/evaluation.tsv"
    conda:
        "../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **from_plan.params("evaluation"),
    script:
        "../workflow/scripts/evaluation.py"


# The same without the segmentation network: `snakemake results/voc12/eps/mask_scores/miou.txt`.
use rule evaluation as mask_scores with:
    input:
        unpack(from_plan.inputs("mask_scores")),
    output:
        miou="results/{dataset}/{method}/mask_scores/miou.txt",
        scores="results/{dataset}/{method}/mask_scores/scores.json",
        sweep="results/{dataset}/{method}/mask_scores/sweep.csv",
        per_image="results/{dataset}/{method}/mask_scores/per_image.csv",
    log:
        "logs/{dataset}/{method}/mask_scores.log",
    benchmark:
        "logs/{dataset}/{method}/mask_scores.tsv"
