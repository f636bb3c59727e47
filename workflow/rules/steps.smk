"""A rule for each step of src/mmjsd/pipeline/steps.py: its files, its command, what it needs."""

for step, products in by_step().items():
    # products of one step may have different files: a run with subspaces has more figures
    for variant, alike in enumerate(by_files(products)):

        rule:
            name:
                rule_name(step, variant)
            message:
                in_wildcards(step.message)
            input:
                needs(alike),
            output:
                **outputs(alike[0]),
            wildcard_constraints:
                **constraints(step),
            params:
                file=PARAMETER_FILE,
                command=command(step),
            log:
                f"logs/{step.log}.log",
            benchmark:
                f"logs/benchmarks/{step.log}.tsv"
            priority: step.priority
            threads: of_step(alike, Step.cores)
            resources:
                mem_mb=more_each_time(of_step(alike, lambda step: step.memory * step.processes())),
                runtime=more_each_time(step.runtime),
                gpu=of_step(alike, lambda step: gpus(step.device(), elsewhere=ELSEWHERE) * step.processes()),
            shell:
                "mmjsd {params.command} --params {params.file:q} 2>&1 | tee {log}"
