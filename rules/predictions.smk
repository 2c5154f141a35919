# The segmentation network over whole images.


rule predictions:
    input:
        unpack(predictions_inputs),
    output:
        index=per_shard("results/{dataset}/{method}/predictions/index.json"),
    log:
        per_shard("logs/{dataset}/{method}/predictions.log"),
    benchmark:
        per_shard("logs/{dataset}/{method}/predictions.tsv")
    conda:
        torch_env("predictions")
    threads: 16
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=480,
    params:
        settings=settings_of("predictions"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("predictions"),
        network=segmentation_network,
    script:
        "../workflow/scripts/predictions.py"
