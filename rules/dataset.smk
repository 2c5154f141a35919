# Whatever the source, results/{dataset}/manifest.csv comes out.


rule dataset:
    input:
        unpack(from_plan.inputs("dataset")),
    output:
        manifest="results/{dataset}/manifest.csv",
        dataset="results/{dataset}/dataset.json",
        images="results/{dataset}/images.json",
        saliency="results/{dataset}/saliency.json",
        masks_train="results/{dataset}/masks_train.json",
        masks_val="results/{dataset}/masks_val.json",
        scored="results/{dataset}/scored.json",
    log:
        "logs/{dataset}/dataset.log",
    benchmark:
        "logs/{dataset}/dataset.tsv"
    conda:
        "../envs/dataset.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        **from_plan.params("dataset"),
        name="{dataset}",
    script:
        "../workflow/scripts/dataset.py"


rule download:
    output:
        done="resources/{archive}/{archive}.json",
    log:
        "logs/download/{archive}.log",
    benchmark:
        "logs/download/{archive}.tsv"
    wildcard_constraints:
        archive="voc12|sbd|coco14|coco17",
    localrule: True
    conda:
        "../envs/dataset.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        archive="{archive}",
    script:
        "../workflow/scripts/download.py"


rule aug_masks:
    input:
        unpack(from_plan.inputs("aug_masks")),
    output:
        done="resources/{dataset}_aug/aug_masks.json",
    log:
        "logs/{dataset}/aug_masks.log",
    benchmark:
        "logs/{dataset}/aug_masks.tsv"
    conda:
        "../envs/dataset.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        **from_plan.params("aug_masks"),
    script:
        "../workflow/scripts/aug_masks.py"
