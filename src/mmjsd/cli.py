"""The command line. Every rule of the workflow is one of these commands, and people can run them too."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmjsd import params, pipeline, variables
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted, end_when_asked, held_back
from mmjsd.records import Product, UpToDate, making

if TYPE_CHECKING:  # slow to import
    from mmjsd.data.store import Store

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a fault of the input is told in plain lines, without a traceback."""
    if argv is None:  # the process is ours
        variables.drop_inherited()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # where it is ASCII
    arguments = _parser().parse_args(argv)
    end_when_asked()
    try:
        arguments.command(arguments)
    except MmjsdError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{_shown(error.filename)}: " if error.filename else ""
        print(f"{where}{error.strerror or error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        command = " ".join(sys.argv[1:] if argv is None else argv)
        print(
            f"{command}: not enough memory; lower batch_size, the latents, network_width or the numbers of "
            "samples, or run fewer steps at a time",
            file=sys.stderr,
        )
        return 1
    except UpToDate as news:
        print(news)
    except Interrupted as ended:
        print(ended, file=sys.stderr)
        return 128 + ended.number
    return 0


def _shown(path: str) -> str:
    """A path as people wrote it: relative, where it is below the folder they are in."""
    found = Path(path)
    return str(found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found)


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch has a type for that of a GPU alone; both are RuntimeErrors
    told = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in told or "out of memory" in told


def _build(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.dataset(chosen, arguments.dataset)) as (product, _):
        dataset = chosen.datasets[arguments.dataset]
        builder = importlib.import_module(pipeline.BUILDERS[dataset.kind])
        builder.build(
            product.outputs[0],
            source=dataset.source,
            source_folder=pipeline.source_folder(chosen, arguments.dataset),
            seed=dataset.seed,
            **dataset.own_options,
        )
        _store(chosen, arguments.dataset)


def _info(arguments: argparse.Namespace) -> None:
    from mmjsd.data.store import describe, read_store

    print(describe(read_store(arguments.file)))


def _classify(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    product = pipeline.classifier(chosen, arguments.dataset, arguments.modality)
    with _step(arguments, chosen, product):
        from mmjsd.models.classifiers import train_classifier

        train_classifier(
            _store(chosen, arguments.dataset),
            arguments.modality,
            product.record.parent,
            epochs=product.params["epochs"],
            seed=product.params["seed"],
        )


def _train(arguments: argparse.Namespace) -> None:
    chosen, seed = _with_seed(arguments)
    product = pipeline.training(chosen, arguments.run, seed)
    run = chosen.runs[arguments.run]
    with _step(arguments, chosen, product, threads=run.threads) as (_, fingerprint):
        from mmjsd.training import train

        store = _store(chosen, run.dataset)
        with held_back() as asked_to_end:
            train(
                run,
                store,
                product.record.parent,
                name=arguments.run,
                seed=seed,
                fingerprint=fingerprint,
                replace=arguments.replace,
                asked_to_end=asked_to_end,
            )


def _evaluate(arguments: argparse.Namespace) -> None:
    chosen, seed = _with_seed(arguments)
    product = pipeline.evaluation(chosen, arguments.run, seed)
    with _step(arguments, chosen, product, threads=chosen.evaluation.threads):
        from mmjsd.evaluation import evaluate

        key = chosen.runs[arguments.run].dataset
        evaluate(
            product.record.parent,
            _store(chosen, key),
            Path("results") / key / "classifiers",
            chosen.evaluation,
            other_data=arguments.other_data,
        )


def _figures(arguments: argparse.Namespace) -> None:
    chosen, seed = _with_seed(arguments)
    with _step(arguments, chosen, pipeline.figures(chosen, arguments.run, seed)) as (product, _):
        from mmjsd.reporting.figures import draw_run

        store = _store(chosen, chosen.runs[arguments.run].dataset)
        draw_run(product.record.parent, store, other_data=arguments.other_data)


def _curves(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.curves(chosen, arguments.dataset)) as (product, _):
        from mmjsd.reporting.curves import draw_dataset

        given = product.params
        runs = {run: [Path(folder) for folder in folders] for run, folders in given["runs"].items()}
        draw_dataset(product.outputs[0].parent, runs, given["embedding"], given["source"])


def _track(arguments: argparse.Namespace) -> None:
    chosen, seed = _with_seed(arguments)
    with _step(arguments, chosen, pipeline.tracking(chosen, arguments.run, seed)) as (product, _):
        from mmjsd.tracking import track

        key = chosen.runs[arguments.run].dataset
        track(
            product.record.parent,
            pipeline.store(key),
            experiment=key,
            key=f"{key}/{arguments.run}/{seed}",
            **product.params,
        )


def _compare(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.comparison(chosen, arguments.published)) as (product, _):
        from mmjsd.reporting.tables import compare

        compare(product.params["rows"], arguments.published, *product.outputs)


def _summarise(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.summary(chosen)) as (product, _):
        from mmjsd.reporting.summary import summarise

        *headlines, curves = product.outputs
        summarise(product.params["rows"], pipeline.HEADLINES, headlines, curves)


def _report(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.report(chosen, arguments.published)) as (product, _):
        from mmjsd.reporting.report import write_report

        given = {key: product.params[key] for key in ("rows", "datasets", "runs", "evaluation")}
        write_report(
            **given, published=arguments.published, template=pipeline.TEMPLATE, out=product.outputs[0]
        )


def _publish(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    with _step(arguments, chosen, pipeline.publication(chosen)) as (product, _):
        from mmjsd.tracking import publish

        publish(product.inputs, product.outputs[0])


def _check(arguments: argparse.Namespace) -> None:
    chosen = params.load(arguments.params)
    print(f"{arguments.params}: {len(chosen.runs)} runs, {len(chosen.seeds)} seeds, no faults")


def _schema(_: argparse.Namespace) -> None:
    print(params.schema(), end="")


def _provenance(arguments: argparse.Namespace) -> None:
    from mmjsd.provenance import chain, describe

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
    generate_picture(arguments.folder, given, n=arguments.n, out=arguments.out, seed=arguments.seed)


@contextmanager
def _step(
    arguments: argparse.Namespace, chosen: params.Params, product: Product, threads: int = 1
) -> Iterator[tuple[Product, str]]:
    """Surround the work of a step with its record, once everything it needs is there."""
    if missing := [path for path in product.needed if not path.is_file()]:
        makers = {path: made.name for made in pipeline.products(chosen) for path in made.outputs}
        remedy = f"`mmjsd {makers[missing[0]]}` makes it" if missing[0] in makers else "check the path"
        raise MmjsdError(f"{missing[0]}: not there yet; {remedy}")
    variables.set_threads(threads)
    with making(product, force=arguments.force) as fingerprint:
        yield product, fingerprint


def _store(chosen: params.Params, key: str) -> "Store":
    """The store of a dataset, if it is of its kind and has enough to train and be judged on."""
    from mmjsd.data.store import read_store, shortage

    store, dataset = read_store(pipeline.store(key)), chosen.datasets[key]
    if (store.kind, store.modalities) != (dataset.kind, dataset.modalities) or not (
        {"train", "test"} <= store.splits.keys()
    ):
        raise MmjsdError(
            f"{store.path}: is no store of {dataset.kind} with the splits train and test; "
            f"make it again with `mmjsd data build {key}`"
        )
    # told by the first step that can know, and not after training
    if fault := shortage(store, params.CLUSTERS):
        raise MmjsdError(f"{store.path}: {fault}; give datasets.{key} a source that has more")
    return store


def _with_seed(arguments: argparse.Namespace) -> tuple[params.Params, int]:
    chosen = params.load(arguments.params)
    return chosen, chosen.seeds[0] if arguments.seed is None else arguments.seed


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    step = argparse.ArgumentParser(add_help=False, parents=[shared])
    step.add_argument("--force", action="store_true", help="do it even if the result is up to date")
    seeded = argparse.ArgumentParser(add_help=False)
    seeded.add_argument("run", metavar="RUN")
    seeded.add_argument("--seed", type=_natural, metavar="N", help="default: the first of the seeds")

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

    data = commands.add_parser("data", help="build a dataset's store, or look into one")
    stores = data.add_subparsers(required=True, metavar="COMMAND")
    build = command(stores, "build", _build, "build the store of a dataset", step)
    build.add_argument("dataset", metavar="DATASET")
    info = command(stores, "info", _info, "check a store and print what is in it")
    info.add_argument("file", type=Path, metavar="FILE")

    classify = command(commands, "classify", _classify, "train the classifier of one modality", step)
    classify.add_argument("dataset", metavar="DATASET")
    classify.add_argument("modality", metavar="MODALITY")
    train = command(commands, "train", _train, "train a run, or continue its training", step, seeded)
    train.add_argument("--replace", action="store_true", help="discard unfinished work of other parameters")
    judging = argparse.ArgumentParser(add_help=False)
    judging.add_argument(
        "--other-data", action="store_true", help="even if the store is not the one it was trained on"
    )
    text = "compute the metrics of a trained run"
    command(commands, "evaluate", _evaluate, text, step, seeded, judging)
    command(commands, "figures", _figures, "draw the figures of a trained run", step, seeded, judging)
    curves = command(commands, "curves", _curves, "draw the figures that compare a dataset's runs", step)
    curves.add_argument("dataset", metavar="DATASET")
    command(commands, "track", _track, "log an evaluated run to MLflow", step, seeded)
    compare = command(commands, "compare", _compare, "write the tables that compare all runs", step)
    text = "write the headlines and training curves of all runs for DVC"
    command(commands, "summarise", _summarise, text, step)
    report = command(commands, "report", _report, "write the report on all runs as one HTML file", step)
    for made in (compare, report):
        made.add_argument("--published", type=Path, default=pipeline.PUBLISHED, metavar="FILE")
    command(commands, "publish", _publish, "log the comparison and the report to MLflow", step)

    text = "print what made a run, back to the source files, and check every hash"
    origin = command(commands, "provenance", _provenance, text)
    origin.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")

    generate = command(commands, "generate", _generate, "draw samples of a trained model as a picture")
    generate.add_argument("folder", type=Path, metavar="FOLDER", help="results/DATASET/RUN/seed-N")
    generate.add_argument("--given", type=_given, action="append", default=[], metavar="MODALITY=VALUE")
    generate.add_argument("--n", type=_positive, default=64, metavar="N")
    generate.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".png, .pdf, .svg, .jpg ..."
    )
    generate.add_argument("--seed", type=_natural, default=0, metavar="N")

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
