"""A step of the pipeline: what it reads, writes, depends on and does, stated once.

The command line, the rules of the workflow, the records and the check of inputs derive from it.
"""

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from mmjsd.errors import MmjsdError, did_you_mean
from mmjsd.params import Params
from mmjsd.provenance.records import Product

__all__ = ["Step", "entry"]


@cache
def _path(path: str) -> Path:
    """The same object for the same path: steps name the files of thousands of others, and Path is slow."""
    return Path(path)


class Step:
    """One step, for one choice of its keys.

    A subclass says what differs. Patterns have the keys in braces, and `{dataset}` where a run has one.

    Args:
        params: the resolved parameter file.
        options: of the command line, by name without dashes.
        keys: a value of each of the step's keys.

    Raises:
        MmjsdError: there is nothing of that name; the line names a near one.
    """

    command: ClassVar[str]
    """The words of the command line."""
    help: ClassVar[str]
    message: ClassVar[str]
    """A pattern: what the workflow says of it."""
    keys: ClassVar[tuple[str, ...]] = ()
    """The arguments of the command, of `dataset`, `modality`, `run` and `seed`."""
    options: ClassVar[dict[str, dict[str, Any]]] = {}
    """More of them: flag -> what `argparse` makes of it."""
    folder: ClassVar[str] = "results"
    """A pattern: where its record and outputs lie."""
    record: ClassVar[str]
    log: ClassVar[str]
    """A pattern: below `logs` and `logs/benchmarks`, without ending."""
    adjustable: ClassVar[tuple[str, ...]] = ()
    """Parameters with other values of which unfinished work is continued."""
    memory: ClassVar[int] = 1000
    """Megabytes for each process; a scheduler that kills it for more is asked for more the next time."""
    runtime: ClassVar[int] = 30
    """Minutes it may take; likewise."""
    priority: ClassVar[int] = 0
    """Of the jobs that can start, those of the highest are first: long ones, so that none is left alone."""

    def __init__(self, params: Params, options: Mapping[str, Any] | None = None, **keys: Any):
        self.given, self.chosen, self.values = params, dict(options or {}), keys
        if "dataset" in keys:
            self.dataset = entry(params.datasets, keys["dataset"], "dataset")
        if "run" in keys:
            self.run = entry(params.runs, keys["run"], "run")
            self.dataset = params.datasets[self.run.dataset]
            self.values = {"dataset": self.run.dataset, **keys}

    # --- what a subclass says -----------------------------------------------------------------------------

    def outputs(self) -> list[str]:
        """Name its files in the folder."""
        raise NotImplementedError

    def params(self) -> dict[str, Any]:
        """Give all parameters that it depends on, and no others, as JSON has them."""
        return {}

    def inputs(self) -> list[Path]:
        """List the files of the project that it reads."""
        return []

    def sources(self) -> dict[str, Path]:
        """Give the files from elsewhere that it reads, by the names they are recorded by."""
        return {}

    def code(self) -> list[str]:
        """Name the definitions that make it."""
        raise NotImplementedError

    def scratch(self) -> list[str]:
        """Name the files of unfinished work in the folder."""
        return []

    def effect(self) -> str | None:
        """Tell why what it does elsewhere has to be done again, or None if that is there."""
        return None

    def threads(self) -> int:
        """Give the number of processor threads that each of its processes computes with."""
        return 1

    def processes(self) -> int:
        """Give the number of processes that share its work, each on a device of its own."""
        return 1

    def cores(self) -> int:
        """Give the number of processor cores that it keeps busy, by threads or processes."""
        return self.threads() * self.processes()

    def device(self) -> str:
        """Give the `device` parameter that it computes on."""
        return "cpu"

    def forced(self) -> bool:
        """Tell whether to do the work even if the outputs are up to date."""
        return bool(self.chosen.get("force"))

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        """Make the outputs.

        Args:
            params: those of the product.
            fingerprint: of all that determines them, which marks unfinished work as belonging to it.
        """
        raise NotImplementedError

    @classmethod
    def choices(cls, params: Params) -> Iterator[dict[str, Any]]:
        """Give the values of the keys of each such step that the parameters ask for."""
        yield {}

    # --- what follows from that ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The arguments of the command that makes it."""
        positional = [str(self.values[key]) for key in self.keys if key != "seed"]
        seed = [f"--seed {self.values['seed']}"] if "seed" in self.keys else []
        return " ".join([self.command, *positional, *seed])

    def path(self, name: str = "") -> Path:
        """The path of a file in the folder."""
        return _path(f"{self._place}/{name.format(**self.values)}")

    @cached_property
    def _place(self) -> str:
        return self.folder.format(**self.values)

    @cached_property
    def product(self) -> Product:
        """What it makes, and what from; looks at the source files of a dataset.

        Raises:
            MmjsdError: source files are missing.
        """
        return Product(
            name=self.name,
            record=self.path(self.record),
            outputs=tuple(self.path(name) for name in self.outputs()),
            params=self.params(),
            inputs=tuple(self.inputs()),
            code=tuple(self.code()),
            benchmark=Path("logs/benchmarks") / f"{self.log.format(**self.values)}.tsv",
            scratch=tuple(self.path(name) for name in self.scratch()),
            sources=self.sources(),
            effect=self.effect,
            adjustable=self.adjustable,
        )


def entry(entries: Mapping[str, Any], key: str, what: str) -> Any:
    """Look up what a key stands for.

    Raises:
        MmjsdError: there is no such key; the line names a near one.
    """
    if key in entries:
        return entries[key]
    raise MmjsdError(f"{key}: no such {what}; {did_you_mean(key, entries, 'there is')}")
