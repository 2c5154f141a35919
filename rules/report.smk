# Pages a person wants to look at.


rule panels:
    input:
        unpack(from_plan.inputs("panels")),
    output:
        index="results/{dataset}/{method}/panels/index.json",
    log:
        "logs/{dataset}/{method}/panels.log",
    benchmark:
        "logs/{dataset}/{method}/panels.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **from_plan.params("panels"),
    script:
        "../workflow/scripts/panels.py"


rule report:
    input:
        unpack(from_plan.inputs("report")),
    output:
        index="results/{dataset}/report/index.html",
        summary=report(
            "results/{dataset}/report/summary.csv",
            caption="../workflow/report/table.rst",
            category="{dataset}",
            labels={"what": "table across methods"},
        ),
        text="results/{dataset}/report/summary.txt",
        curves=report(
            "results/{dataset}/report/curves.svg",
            caption="../workflow/report/curves.rst",
            category="{dataset}",
            labels={"what": "mIoU against threshold"},
        ),
        per_class=report(
            "results/{dataset}/report/per_class.svg",
            caption="../workflow/report/per_class.rst",
            category="{dataset}",
            labels={"what": "IoU per class"},
        ),
    log:
        "logs/{dataset}/report.log",
    benchmark:
        "logs/{dataset}/report.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **from_plan.params("report"),
    script:
        "../workflow/scripts/report.py"


rule table:
    input:
        unpack(from_plan.inputs("table")),
    output:
        markdown="results/{dataset}/table.md",
        latex="results/{dataset}/table.tex",
    log:
        "logs/{dataset}/table.log",
    benchmark:
        "logs/{dataset}/table.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **from_plan.params("table"),
    script:
        "../workflow/scripts/table.py"


# Over all dataset files of `datasets`, which differ in their saliency maps alone.
rule saliency_table:
    input:
        unpack(from_plan.inputs("saliency_table")),
    output:
        markdown="results/saliency_table.md",
        latex="results/saliency_table.tex",
    log:
        "logs/saliency_table.log",
    benchmark:
        "logs/saliency_table.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **from_plan.params("saliency_table"),
    script:
        "../workflow/scripts/saliency_table.py"
