# Pages a person wants to look at.


rule panels:
    input:
        unpack(panels_inputs),
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
        panel_count=panel_count,
        bg=seed_bg,
        code=code_of("panels"),
    script:
        "../workflow/scripts/panels.py"


rule report:
    input:
        unpack(report_inputs),
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
        methods=report_methods,
        code=code_version("wsss.stages.report"),
        templates=template_version(),
    script:
        "../workflow/scripts/report.py"
