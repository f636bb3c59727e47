"""The report on all runs, and the MLflow run that has it."""


rule report:
    message:
        "writing the report"
    input:
        needs(lambda w: pipeline.report(PARAMS, PUBLISHED)),
    output:
        page=update("results/report.html"),
        record=update("results/report.record.json"),
    params:
        file=PARAMETER_FILE,
        published=PUBLISHED,
    log:
        "logs/report.log",
    benchmark:
        "logs/benchmarks/report.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "mmjsd report --published {params.published:q}"
        " --params {params.file:q} 2>&1 | tee {log}"


rule publish:
    message:
        "logging the comparison and the report to MLflow"
    input:
        needs(lambda w: pipeline.publication(PARAMS)),
    output:
        place=update("results/mlflow.json"),
        record=update("results/publication.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/publish.log",
    benchmark:
        "logs/benchmarks/publish.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "mmjsd publish --params {params.file:q} 2>&1 | tee {log}"
