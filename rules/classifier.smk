# Train the network whose maps become CAMs.


rule classifier:
    input:
        unpack(classifier_inputs),
    output:
        model="results/{dataset}/{method}/classifier/model.safetensors",
        history="results/{dataset}/{method}/classifier/history.csv",
        check="results/{dataset}/{method}/classifier/check.json",
    log:
        "logs/{dataset}/{method}/classifier.log",
    benchmark:
        "logs/{dataset}/{method}/classifier.tsv"
    conda:
        torch_env("classifier")
    threads: 8
    resources:
        gpu=training_gpus,
        mem_mb=16000,
        runtime=720,
    params:
        settings=settings_of("classifier"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=training_compute,
        code=code_of("classifier", with_net=True),
        net_options=net_options,
        wrapper=wrapper_of,
    script:
        "../workflow/scripts/classifier.py"
