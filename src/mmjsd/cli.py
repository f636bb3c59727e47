"""The command line. Every rule of the workflow is one of these commands, and people can run them too."""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmjsd import params, pipeline, project, variables
from mmjsd.errors import MmjsdError, in_a_line
from mmjsd.interruption import Interrupted, end_when_asked
from mmjsd.pipeline import Step, company
from mmjsd.provenance.records import UpToDate

__all__ = ["main"]

#: What the arguments of steps are.
_KEYS = {
    "dataset": "its name in `datasets` of the parameter file",
    "modality": "one of the dataset's, such as `text`",
    "run": "its name in the parameter file, or in what `mmjsd params check` lists of a sweep",
}
_SEED = "of the sampling (default: 0)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a fault of the input is told in plain lines, without a traceback."""
    if argv is None:  # the process is ours
        # libraries make very many objects that stay, which else are searched for garbage over and over
        gc.set_threshold(20_000, 50, 100)
        variables.drop_inherited()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # where it is ASCII
    arguments = _parser().parse_args(argv)
    arguments.words = sys.argv[1:] if argv is None else argv
    end_when_asked()
    try:
        arguments.command(arguments)
    except (MmjsdError, OSError) as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        print(
            f"{' '.join(arguments.words)}: not enough memory; lower batch_size, the latents, network_width "
            "or the numbers of samples, or run fewer steps at a time",
            file=sys.stderr,
        )
        return 1
    except UpToDate as news:
        print(news)
    except Interrupted as ended:
        if not (among := variables.member()) or among.rank == 0:
            print(ended, file=sys.stderr)
        return 128 + ended.number
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch has a type for that of a GPU alone; both are RuntimeErrors
    told = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in told or "out of memory" in told


def _run_step(arguments: argparse.Namespace) -> None:
    """Do the work of a step, surrounded by its record, once everything it needs is there."""
    chosen = params.load(arguments.params)
    kind: type[Step] = arguments.step
    keys = {key: getattr(arguments, key) for key in kind.keys}
    if keys.get("seed", 0) is None:
        keys["seed"] = chosen.seeds[0]
    options = {
        name: getattr(arguments, name)
        for name in ("force", *(flag.strip("-").replace("-", "_") for flag in kind.options))
    }
    step = kind(chosen, options, **keys)
    product = step.product
    if missing := [path for path in product.needed if not path.is_file()]:
        makers = {made.path(name): made.name for made in pipeline.steps(chosen) for name in made.outputs()}
        remedy = f"`mmjsd {makers[missing[0]]}` makes it" if missing[0] in makers else "check the path"
        raise MmjsdError(f"{missing[0]}: not there yet; {remedy}")
    among = variables.member()
    if among is None and step.processes() > 1:
        company.launch(arguments.words, step.processes(), step.device())
        return
    if among and among.processes != step.processes():
        raise MmjsdError(
            f"{step.name}: started as {among.processes} processes; its parameter `processes` says "
            f"{step.processes()}"
        )
    variables.set_threads(step.threads())
    with company.making_together(product, force=step.forced()) as fingerprint:
        step.work(product.params, fingerprint)


def _compare(arguments: argparse.Namespace) -> None:
    if not arguments.test:
        if arguments.metric:
            raise MmjsdError("--metric: has no effect without --test RUN_A RUN_B")
        _run_step(arguments)
        return
    from mmjsd.reporting.pairwise import describe_differences

    chosen = params.load(arguments.params)
    print(describe_differences(pipeline.comparable(chosen, *arguments.test), arguments.metric))


def _results(arguments: argparse.Namespace) -> None:
    from mmjsd.reporting.results import write_results

    write_results(pipeline.study(params.load(arguments.params), arguments.params), arguments.page)
    print(f"{arguments.page}: has the results of {arguments.params}")


def _init(arguments: argparse.Namespace) -> None:
    project.begin(arguments.folder)
    print(
        f"{arguments.folder}: params.yaml says what is made, first a demo; type in this folder "
        "`uv run snakemake --cores all`, or without uv `snakemake --cores all`"
    )


def _info(arguments: argparse.Namespace) -> None:
    from mmjsd.data.store import describe, read_store

    print(describe(read_store(arguments.file)))


def _check(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    for name, found in chosen.sweeps.items():
        print(f"sweeps.{name}: {len(found)} runs", *found, sep="\n  ")
    runs, seeds = len(chosen.runs), len(chosen.seeds)
    print(f"{arguments.params}: {runs} runs, {seeds} seeds, {runs * seeds} trainings, no faults")


def _schema(_: argparse.Namespace) -> None:
    print(params.schema(), end="")


def _provenance(arguments: argparse.Namespace) -> None:
    from mmjsd.provenance.chain import chain, describe

    links = chain(arguments.folder)
    print(describe(links))
    if faults := dict.fromkeys(file.fault for link in links for file in link.files if file.fault):
        raise MmjsdError("\n".join([*faults, "`snakemake --cores all` makes again what is wrong or missing"]))
    print(f"{arguments.folder}: every hash holds")


def _generate(arguments: argparse.Namespace) -> None:
    from mmjsd.reporting.generate import generate_picture

    given = dict(arguments.given)
    if len(given) < len(arguments.given):
        raise MmjsdError("--given: one modality is given twice; give each once")
    n, out, seed, sampler = arguments.n, arguments.out, arguments.seed, arguments.sampler
    generate_picture(arguments.folder, given, n=n, out=out, seed=seed, sampler=sampler)
    print(f"{out}: has {n} samples of each modality")


def _impute(arguments: argparse.Namespace) -> None:
    from mmjsd.reporting.impute import impute

    impute(arguments.folder, arguments.file, arguments.out, seed=arguments.seed)
    print(f"{arguments.out}: has {arguments.file} as it is then")


def _ui(arguments: argparse.Namespace) -> None:
    from mmjsd.tracking.pages import open_pages

    open_pages(arguments.port)


def _export(arguments: argparse.Namespace) -> None:
    from mmjsd.sharing.export import export

    export(arguments.folder, arguments.out, arguments.format)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    text = "the parameter file (default: params.yaml)"
    shared.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help=text)

    parser = argparse.ArgumentParser(
        prog="mmjsd",
        description="Train, evaluate and compare multimodal VAEs. `snakemake --cores all` runs all of it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        group: argparse._SubParsersAction,
        name: str,
        run: Callable[[argparse.Namespace], None],
        text: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        added = group.add_parser(name, help=text, description=text, parents=list(parents))
        added.set_defaults(command=run)
        return added

    init = command(commands, "init", _init, "lay down a project of your own")
    init.add_argument("folder", type=Path, metavar="FOLDER", help="of the project; made if it is not there")

    data = commands.add_parser("data", help="build a dataset's store, or look into one")
    groups = {"data": data.add_subparsers(required=True, metavar="COMMAND"), "": commands}
    for step in pipeline.STEPS:
        group, _, name = step.command.rpartition(" ")
        added = command(groups[group], name, _run_step, step.help, shared)
        added.set_defaults(step=step)
        added.add_argument("--force", action="store_true", help="do it even if the result is up to date")
        for key in step.keys:
            if key == "seed":
                added.add_argument(
                    "--seed", type=_natural, metavar="N", help="of the run (default: the first of the seeds)"
                )
            else:
                added.add_argument(key, metavar=key.upper(), help=_KEYS[key])
        for flag, option in step.options.items():
            added.add_argument(flag, **option)
    compare = commands.choices["compare"]
    compare.set_defaults(command=_compare)
    text = "print by how much two runs differ instead, and what of it the data settle"
    compare.add_argument("--test", nargs=2, metavar=("RUN_A", "RUN_B"), help=text)
    text = "of --test: this one, as metrics.json has it (may be given several times; default: the headline)"
    compare.add_argument("--metric", action="append", default=[], metavar="KEY", help=text)
    text = "write what the runs of a parameter file show into a page of results"
    page = command(commands, "results", _results, text, shared)
    text = "the page, whose section of the parameter file is written anew (default: docs/results.md)"
    page.add_argument("--page", type=Path, default=Path("docs/results.md"), metavar="FILE.md", help=text)
    info = command(groups["data"], "info", _info, "check a store and print what is in it")
    info.add_argument("file", type=Path, metavar="FILE", help="data/DATASET.h5")

    text = "print what made a run, back to the source files, and check every hash"
    origin = command(commands, "provenance", _provenance, text)
    origin.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")

    generate = command(commands, "generate", _generate, "draw samples of a trained model as a picture")
    generate.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")
    text = (
        "what samples are given: the file of an image, the words of a text, the numbers of a vector as "
        "50,2.7,3, in the units and the order of its columns (once for each modality; default: nothing)"
    )
    generate.add_argument(
        "--given", type=_given, action="append", default=[], metavar="MODALITY=VALUE", help=text
    )
    text = "samples of each modality (default: 64)"
    generate.add_argument("--n", type=_positive, default=64, metavar="N", help=text)
    text = "the picture to write; its ending is its format, such as png, pdf or svg"
    generate.add_argument("--out", type=Path, required=True, metavar="FILE.png", help=text)
    generate.add_argument("--seed", type=_natural, default=0, metavar="N", help=_SEED)
    text = "of samples given nothing: the prior, or a mixture fitted to the training data (default: prior)"
    generate.add_argument("--sampler", choices=("prior", "mixture"), default="prior", help=text)

    text = "fill the empty cells of a table with what a trained model predicts"
    impute = command(commands, "impute", _impute, text)
    impute.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")
    text = "the table, CSV or TSV, with the columns of the table that the run was trained on"
    impute.add_argument("file", type=Path, metavar="FILE.csv", help=text)
    text = "the table to write, a new file"
    impute.add_argument("--out", type=Path, required=True, metavar="FILLED.csv", help=text)
    impute.add_argument("--seed", type=_natural, default=0, metavar="N", help=_SEED)

    text = "show the runs in MLflow, and print where they are side by side"
    ui = command(commands, "ui", _ui, text)
    ui.add_argument("--port", type=_positive, default=5000, metavar="N", help="of the pages (default: 5000)")

    text = "write a trained model for the Hugging Face Hub, or its networks as ONNX"
    export = command(commands, "export", _export, text)
    export.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")
    text = "a folder for the Hugging Face Hub, or the encoders and decoders as ONNX"
    export.add_argument("--format", choices=("huggingface", "onnx"), required=True, help=text)
    text = "the folder to write, empty or not there yet"
    export.add_argument("--out", type=Path, required=True, metavar="NEW_FOLDER", help=text)

    about = commands.add_parser("params", help="check the parameter file, or print its schema")
    files = about.add_subparsers(required=True, metavar="COMMAND")
    command(files, "check", _check, "check the parameter file", shared)
    command(files, "schema", _schema, "print the JSON schema of parameter files")
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on (got {text})")
    return int(text)


def _positive(text: str) -> int:
    if (number := _natural(text)) == 0:
        raise argparse.ArgumentTypeError("must be at least 1 (got 0)")
    return number


def _given(text: str) -> tuple[str, str]:
    modality, sign, value = text.partition("=")
    if not (modality and sign):
        raise argparse.ArgumentTypeError(f"must be MODALITY=VALUE (got {text})")
    return modality, value
