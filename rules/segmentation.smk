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
        torch_env("segmentation")
    threads: 8
    resources:
        gpu=training_gpus,
        mem_mb=16000,
        runtime=1440,
    params:
        settings=settings_of("segmentation"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=training_compute,
        code=code_of("segmentation"),
        network=segmentation_network,
    script:
        "../workflow/scripts/segmentation.py"
