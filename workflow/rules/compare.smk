"""The tables that compare all runs, for people and for DVC."""


rule compare:
    message:
        "comparing the runs"
    input:
        needs(lambda w: pipeline.comparison(PARAMS, PUBLISHED)),
    output:
        table=update(report("results/comparison.csv", category="comparison", caption="../report/workflow.rst")),
        page=update("results/comparison.md"),
        record=update("results/comparison.record.json"),
    params:
        file=PARAMETER_FILE,
        published=PUBLISHED,
    log:
        "logs/compare.log",
    benchmark:
        "logs/benchmarks/compare.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "mmjsd compare --published {params.published:q}"
        " --params {params.file:q} 2>&1 | tee {log}"


rule summarise:
    message:
        "summing up the runs for DVC"
    input:
        needs(lambda w: pipeline.summary(PARAMS)),
    output:
        *map(update, pipeline.summary(PARAMS).outputs),
        record=update("results/summary.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/summarise.log",
    benchmark:
        "logs/benchmarks/summarise.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "mmjsd summarise --params {params.file:q} 2>&1 | tee {log}"
