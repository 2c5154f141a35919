# The recipe's DeepLab on pseudo-masks, or on ground truth (method full).


rule segmentation:
    input:
        unpack(from_plan.inputs("segmentation")),
    output:
        model="results/{dataset}/{method}/segmentation/model.safetensors",
        history="results/{dataset}/{method}/segmentation/history.csv",
    log:
        "logs/{dataset}/{method}/segmentation.log",
    benchmark:
        "logs/{dataset}/{method}/segmentation.tsv"
    conda:
        from_plan.torch_env("segmentation")
    threads: 8
    resources:
        gpu=from_plan.gpus("segmentation"),
        mem_mb=16000,
        runtime=1440,
    params:
        **from_plan.params("segmentation"),
    script:
        "../workflow/scripts/segmentation.py"
