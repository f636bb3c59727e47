# The whole pipeline: `snakemake --cores all` makes what params.yaml asks for, and
# `snakemake --cores all --configfile FILE` what another parameter file does.
# What each step reads, writes and depends on is in src/mmjsd/pipeline/steps.py; workflow/rules makes rules of it.

include: "workflow/rules/common.smk"
include: "workflow/rules/steps.smk"

report: "workflow/report/workflow.rst"


localrules:
    all,
    datasets,


# every product by name: an intermediate file nobody asks for would not be made again when it is gone
rule all:
    default_target: True
    message:
        "everything is made; read results/report.html"
    input:
        [product.record for product in PRODUCTS],


# what the stage `data` of dvc.yaml makes
rule datasets:
    message:
        "all stores are built"
    input:
        [product.record for product in PRODUCTS if product.record.parts[0] == "data"],
