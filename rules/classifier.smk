# Train the network whose maps become CAMs.


rule classifier:
    input:
        unpack(from_plan.inputs("classifier")),
    output:
        model="results/{dataset}/{method}/classifier/model.safetensors",
        history="results/{dataset}/{method}/classifier/history.csv",
        check="results/{dataset}/{method}/classifier/check.json",
    log:
        "logs/{dataset}/{method}/classifier.log",
    benchmark:
        "logs/{dataset}/{method}/classifier.tsv"
    wildcard_constraints:
        # A further network of a row is a classifier and no more (cam.networks).
        method=ROW_OR_NET,
    conda:
        from_plan.torch_env("classifier")
    threads: 8
    resources:
        gpu=from_plan.gpus("classifier"),
        mem_mb=16000,
        runtime=720,
    params:
        **from_plan.params("classifier"),
    script:
        "../workflow/scripts/classifier.py"
