"""The tables that compare all runs."""


rule compare:
    message:
        "comparing the runs"
    input:
        needs(lambda w: pipeline.comparison(PARAMS, Path(PUBLISHED))),
    output:
        table="results/comparison.csv",
        page="results/comparison.md",
        record="results/comparison.record.json",
    log:
        "logs/compare.log",
    benchmark:
        "logs/benchmarks/compare.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "{PYTHON:q} -u -m mmjsd compare --published {PUBLISHED:q}"
        " --params {PARAMETER_FILE:q} 2>&1 | tee {log}"
