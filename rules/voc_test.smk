# VOC's test images, and what its server takes: `snakemake results/voc12/amn/test/results.tar`.


rule voc_test:
    input:
        unpack(plan.inputs("voc_test")),
    output:
        index="results/{dataset}/{method}/test/index.json",
        archive="results/{dataset}/{method}/test/results.tar",
    log:
        "logs/{dataset}/{method}/test.log",
    benchmark:
        "logs/{dataset}/{method}/test.tsv"
    conda:
        plan.torch_env("predict")
    threads: 16
    resources:
        gpu=plan.gpus("voc_test"),
        mem_mb=16000,
        runtime=480,
    params:
        **plan.params("voc_test"),
    script:
        "../workflow/scripts/voc_test.py"
