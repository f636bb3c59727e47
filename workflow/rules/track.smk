"""The MLflow run of each run and seed."""


rule track:
    message:
        "logging {wildcards.run}, seed {wildcards.seed}, to MLflow"
    input:
        needs(lambda w: pipeline.tracking(PARAMS, w.run, int(w.seed))),
    output:
        place=update("results/{dataset}/{run}/seed-{seed}/mlflow.json"),
        record=update("results/{dataset}/{run}/seed-{seed}/tracking.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/{run}/seed-{seed}/track.log",
    benchmark:
        "logs/benchmarks/{dataset}/{run}/seed-{seed}/track.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "mmjsd track {wildcards.run} --seed {wildcards.seed}"
        " --params {params.file:q} 2>&1 | tee {log}"
