# Pages a person wants to look at.


def panels_inputs(w):
    inputs = {**manifest(w), **masks_made(w)}
    if "seeds" in inputs:
        inputs["ir_labels"] = artefact(w, "ir_labels", "index.json")
    return inputs


def seed_bg(w):
    return recipe_of(w)["evaluation"]["bg"]


def histories(w):
    """Training histories of a method, its own and those it takes from other recipes."""
    recipe = recipe_of(w)
    names = ["segmentation"]
    if recipe["segmentation"]["labels"] == "pseudo_masks":
        names = ["classifier", *(["affinity"] if recipe["refine"] == "irn" else []), "segmentation"]
    return {name: artefact(w, name, "history.csv") for name in names}


class Row:
    """Wildcards of one method of a report."""

    def __init__(self, dataset, method):
        self.dataset, self.method = dataset, method


def report_rows(w):
    return [Row(w.dataset, method) for method in configured_methods()]


def report_inputs(w):
    files = []
    for row in report_rows(w):
        folder = f"results/{row.dataset}/{row.method}"
        files += [f"{folder}/scores.json", f"{folder}/sweep.csv", f"{folder}/panels/index.json", *histories(row).values()]
    return {**manifest(w), "files": files}


def report_methods(w):
    return [
        {
            "name": row.method,
            "folder": f"results/{row.dataset}/{row.method}",
            "history": histories(row),
            "panels": f"results/{row.dataset}/{row.method}/panels/index.json",
        }
        for row in report_rows(w)
    ]


def panel_count(w):
    return config["report"]["panels"]


rule panels:
    input:
        unpack(panels_inputs),
    output:
        index="results/{dataset}/{method}/panels/index.json",
    log:
        "logs/{dataset}/{method}/panels.log",
    benchmark:
        "logs/{dataset}/{method}/panels.tsv"
    params:
        panel_count=panel_count,
        bg=seed_bg,
        code=code_of("panels"),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    script:
        "../workflow/scripts/panels.py"


rule report:
    input:
        unpack(report_inputs),
    output:
        index="results/{dataset}/report/index.html",
        summary=report("results/{dataset}/report/summary.csv", caption="../workflow/report/table.rst", category="{dataset}", labels={"what": "table across methods"}),
        curves=report("results/{dataset}/report/curves.svg", caption="../workflow/report/curves.rst", category="{dataset}", labels={"what": "mIoU against threshold"}),
        per_class=report("results/{dataset}/report/per_class.svg", caption="../workflow/report/per_class.rst", category="{dataset}", labels={"what": "IoU per class"}),
    log:
        "logs/{dataset}/report.log",
    benchmark:
        "logs/{dataset}/report.tsv"
    params:
        methods=report_methods,
        code=code_version("wsss.stages.report"),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    script:
        "../workflow/scripts/report.py"
