"""The model of each run and seed."""


rule train:
    message:
        "training {wildcards.run}, seed {wildcards.seed}"
    input:
        needs(lambda w: pipeline.training(PARAMS, w.run, int(w.seed))),
    output:
        model=update("results/{dataset}/{run}/seed-{seed}/model.pt"),
        history=update("results/{dataset}/{run}/seed-{seed}/history.csv"),
        record=update("results/{dataset}/{run}/seed-{seed}/training.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/{run}/seed-{seed}/train.log",
    benchmark:
        "logs/benchmarks/{dataset}/{run}/seed-{seed}/train.tsv"
    threads: lambda w: PARAMS.runs[w.run].threads
    resources:
        mem_mb=4000,
        gpu=lambda w: pipeline.gpus(PARAMS.runs[w.run].device),
    # a checkpoint of the same origin is gone on from; one of another origin is outdated, for the results are
    shell:
        "mmjsd train {wildcards.run} --seed {wildcards.seed} --replace"
        " --params {params.file:q} 2>&1 | tee {log}"
