# The whole pipeline: `snakemake --cores all` makes what params.yaml asks for, and
# `snakemake --cores all --configfile FILE` what another parameter file does.
# Each stage is a file in workflow/rules; what each step reads, writes and depends on is in src/mmjsd/pipeline.py.

include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/classifiers.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"

report: "workflow/report/workflow.rst"


localrules:
    all,


# every product by name: an intermediate file nobody asks for would not be made again when it is gone
rule all:
    message:
        "everything is made; read results/report.html"
    input:
        [path for product in PRODUCTS for path in (*product.outputs, product.record)],
