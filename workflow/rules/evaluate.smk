"""The metrics of each run and seed."""


rule evaluate:
    message:
        "evaluating {wildcards.run}, seed {wildcards.seed}"
    input:
        needs(lambda w: pipeline.evaluation(PARAMS, w.run, int(w.seed))),
    output:
        metrics=update("results/{dataset}/{run}/seed-{seed}/metrics.json"),
        curves=update("results/{dataset}/{run}/seed-{seed}/prd.csv"),
        record=update("results/{dataset}/{run}/seed-{seed}/evaluation.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/{run}/seed-{seed}/evaluate.log",
    benchmark:
        "logs/benchmarks/{dataset}/{run}/seed-{seed}/evaluate.tsv"
    threads: PARAMS.evaluation.threads
    resources:
        mem_mb=4000,
        gpu=lambda w: pipeline.gpus(PARAMS.runs[w.run].device),
    shell:
        "mmjsd evaluate {wildcards.run} --seed {wildcards.seed}"
        " --params {params.file:q} 2>&1 | tee {log}"
