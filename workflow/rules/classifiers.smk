"""The classifiers that judge what the models generate, one a modality."""


rule classifier:
    message:
        "training the {wildcards.modality} classifier of {wildcards.dataset}"
    input:
        needs(lambda w: pipeline.classifier(PARAMS, w.dataset, w.modality)),
    output:
        model=update("results/{dataset}/classifiers/{modality}/model.pt"),
        metrics=update("results/{dataset}/classifiers/{modality}/metrics.json"),
        record=update("results/{dataset}/classifiers/{modality}/record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/classifiers/{modality}.log",
    benchmark:
        "logs/benchmarks/{dataset}/classifiers/{modality}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        gpu=pipeline.gpus("auto"),
    shell:
        "mmjsd classify {wildcards.dataset} {wildcards.modality}"
        " --params {params.file:q} 2>&1 | tee {log}"
