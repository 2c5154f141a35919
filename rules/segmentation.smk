# The recipe's DeepLab on pseudo-masks, or on ground truth (method full).


rule segmentation:
    input:
        unpack(segmentation_inputs),
    output:
        model="results/{dataset}/{method}/segmentation/model.safetensors",
        history="results/{dataset}/{method}/segmentation/history.csv",
    log:
        "logs/{dataset}/{method}/segmentation.log",
    benchmark:
        "logs/{dataset}/{method}/segmentation.tsv"
    conda:
        "../envs/segmentation.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=1440,
    params:
        settings=settings_of("segmentation"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("segmentation"),
        network=segmentation_network,
    script:
        "../workflow/scripts/segmentation.py"
