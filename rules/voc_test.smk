# VOC's test images, and what its server takes: `snakemake results/voc12/amn/test/results.tar`.


rule voc_test:
    input:
        unpack(from_plan.inputs("voc_test")),
    output:
        index="results/{dataset}/{method}/test/index.json",
        archive="results/{dataset}/{method}/test/results.tar",
    log:
        "logs/{dataset}/{method}/test.log",
    benchmark:
        "logs/{dataset}/{method}/test.tsv"
    conda:
        from_plan.torch_env("predict")
    threads: 16
    resources:
        gpu=from_plan.gpus("voc_test"),
        mem_mb=16000,
        runtime=480,
    params:
        **from_plan.params("voc_test"),
    script:
        "../workflow/scripts/voc_test.py"
