"""The figures of each run and seed, and those that compare the runs of a dataset."""


# which figures there are depends on the dataset, and on whether a run has subspaces
for key, subspaces in sorted({(run.dataset, run.private_latent > 0) for run in PARAMS.runs.values()}):
    alike = [k for k, run in PARAMS.runs.items() if (run.dataset, run.private_latent > 0) == (key, subspaces)]

    rule:
        name:
            f"figures_{key}_{'with' if subspaces else 'without'}_subspaces"
        message:
            "drawing {wildcards.run}, seed {wildcards.seed}"
        input:
            needs(lambda w: pipeline.figures(PARAMS, w.run, int(w.seed))),
        output:
            pictures=pictures(
                pipeline.figures(PARAMS, alike[0], PARAMS.seeds[0]),
                "results/{dataset}/{run}/seed-{seed}/figures",
                subcategory="{run}",
                caption="../report/run.rst",
                seed="{seed}",
            ),
            captions=update("results/{dataset}/{run}/seed-{seed}/figures/captions.json"),
            record=update("results/{dataset}/{run}/seed-{seed}/figures.record.json"),
        wildcard_constraints:
            dataset=one_of([key]),
            run=one_of(alike),
        params:
            file=PARAMETER_FILE,
        log:
            "logs/{dataset}/{run}/seed-{seed}/figures.log",
        benchmark:
            "logs/benchmarks/{dataset}/{run}/seed-{seed}/figures.tsv"
        threads: 1
        resources:
            mem_mb=4000,
            gpu=lambda w: pipeline.gpus(PARAMS.runs[w.run].device),
        shell:
            "mmjsd figures {wildcards.run} --seed {wildcards.seed}"
            " --params {params.file:q} 2>&1 | tee {log}"


rule curves:
    message:
        "drawing the comparison of the runs of {wildcards.dataset}"
    input:
        needs(lambda w: pipeline.curves(PARAMS, w.dataset)),
    output:
        pictures=pictures(
            pipeline.curves(PARAMS, next(iter(PARAMS.datasets))),
            "results/{dataset}/figures",
            subcategory="all runs",
            caption="../report/dataset.rst",
            seed="all",
        ),
        captions=update("results/{dataset}/figures/captions.json"),
        record=update("results/{dataset}/figures.record.json"),
    params:
        file=PARAMETER_FILE,
    log:
        "logs/{dataset}/figures.log",
    benchmark:
        "logs/benchmarks/{dataset}/figures.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "mmjsd curves {wildcards.dataset} --params {params.file:q} 2>&1 | tee {log}"
