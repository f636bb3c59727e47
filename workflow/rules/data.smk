"""The multimodal store of each dataset, from its source files."""


rule dataset:
    message:
        "building the store of {wildcards.dataset}"
    input:
        needs(lambda w: pipeline.dataset(PARAMS, w.dataset)),
    output:
        store=update("data/{dataset}.h5"),
        record=update("data/{dataset}.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/data.log",
    benchmark:
        "logs/benchmarks/{dataset}/data.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    shell:
        "mmjsd data build {wildcards.dataset} --params {params.file:q} 2>&1 | tee {log}"


# what the stage `data` of dvc.yaml makes
rule datasets:
    message:
        "all stores are built"
    input:
        expand("data/{key}{end}", key=pipeline.used_datasets(PARAMS), end=[".h5", ".record.json"]),
