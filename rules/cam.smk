# Multi-scale CAMs of all training images.


rule cam:
    input:
        unpack(cam_inputs),
    output:
        index=per_shard("results/{dataset}/{method}/cam/index.json"),
    log:
        per_shard("logs/{dataset}/{method}/cam.log"),
    benchmark:
        per_shard("logs/{dataset}/{method}/cam.tsv")
    conda:
        torch_env("cam")
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=240,
    params:
        settings=settings_of("cam"),
        recipe=recipe_facts,
        seed=seed_of,
        compute=compute,
        code=code_of("cam", with_net=True),
        net_options=net_options,
    script:
        "../workflow/scripts/cam.py"
