"""What the benchmarks share: their options, timing in turns, tables and JSON.

Other work on a machine slows whatever runs at that moment. So what is compared runs in turns, and results are
ratios: the median of those of the turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmjsd.errors import MmjsdError, in_a_line
from mmjsd.provenance.environment import describe
from mmjsd.provenance.files import atomic_write

__all__ = ["Spent", "in_turns", "parsed", "parser", "process", "ratio", "report", "run", "seconds"]

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


# --- Options ----------------------------------------------------------------------------------------------


def parser(file: str, doc: str | None) -> argparse.ArgumentParser:
    """Make the parser of a benchmark, whose docstring is its help."""
    options = argparse.ArgumentParser(
        prog=Path(file).stem, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="see that it works: the numbers say little")
    options.add_argument("--json", type=Path, default=RESULTS / f"{Path(file).stem}.json", metavar="FILE")
    return options


def parsed(options: argparse.ArgumentParser, **quick: Any) -> argparse.Namespace:
    """Parse the command line; with `--quick` other defaults hold."""
    if options.parse_known_args()[0].quick:
        options.set_defaults(**quick)
    options.set_defaults(benchmark=options.prog)
    return options.parse_args()


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what it refuses is told in a line."""
    try:
        main()
    except MmjsdError as error:
        sys.exit(in_a_line(error))


# --- Timing -----------------------------------------------------------------------------------------------


def seconds(
    call: Callable[[], object],
    repeat: int = 1,
    wait: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time one of so many calls on average.

    Args:
        call: is called.
        repeat: how often.
        wait: waits until what was asked of the device is done.
        clock: gives the seconds.
    """
    wait()
    started = clock()
    for _ in range(repeat):
        call()
    wait()
    return (clock() - started) / repeat


def in_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    turns: int,
    repeat: int = 1,
    skip: int = 1,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Time calls in turns, forwards and backwards: name -> seconds of a call in each turn.

    Args:
        calls: by name.
        turns: of each.
        repeat: timed calls of a turn.
        skip: calls before those, which bring weights into the caches, or use up what was read ahead.
        wait: as of :func:`seconds`.
    """
    for call in calls.values():  # the first ones compile, choose algorithms and allocate
        seconds(call, 2, wait)
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(turns):
        for name in order:
            for _ in range(skip):
                calls[name]()
            times[name].append(seconds(calls[name], repeat, wait))
        order.reverse()
    return times


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Compute the median of the ratios of the turns."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


class Spent(NamedTuple):
    """What a process took, its own children included."""

    seconds: float
    processor_seconds: float
    megabytes: float
    """The most memory of one of the processes."""
    output: str
    """Both streams."""


def process(command: Sequence[str], **options: Any) -> Spent:
    """Run a command to its end.

    Args:
        command: its words.
        options: of `subprocess.Popen`.

    Raises:
        MmjsdError: it fails.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise MmjsdError(f"{' '.join(command)}: exit code {child.returncode}: {output[-500:]}")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Spent(
        time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, output
    )


# --- What came out ----------------------------------------------------------------------------------------


def report(
    options: argparse.Namespace, tables: Mapping[str, Sequence[Row]], results: Mapping[str, float]
) -> None:
    """Print the tables and results of a benchmark, and write them to its JSON file.

    Args:
        options: as parsed.
        tables: title -> rows with the same columns.
        results: what the benchmark is for: name -> number, ratios wherever possible.
    """
    environment = {**describe(), **_moment()}
    for title, rows in tables.items():
        print(f"\n{title}\n\n{_in_columns(rows)}")
    print(f"\n{_in_columns([{'result': name, 'value': value} for name, value in results.items()])}")
    chosen = {key: value for key, value in vars(options).items() if key not in ("benchmark", "json")}
    content = {"benchmark": options.benchmark, "options": chosen, "environment": environment}
    content |= {"tables": tables, "results": results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.json, json.dumps(content, indent=1, allow_nan=False) + "\n")
    shown = ("machine.processor", "machine.cores", "machine.gpu", "version.torch", "load")
    said = [f"{key.rpartition('.')[2]} {environment[key]}" for key in shown if key in environment]
    print(f"\n{options.json}: {', '.join(said)}", flush=True)


def _moment() -> dict[str, str]:
    """What else may show in times: the load, and variables that steer libraries."""
    load = {"load": f"{os.getloadavg()[0]:.1f}"} if hasattr(os, "getloadavg") else {}
    steering = ("GLIBC_TUNABLES", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    return load | {f"variable.{name}": os.environ[name] for name in steering if name in os.environ}


def _in_columns(rows: Sequence[Row]) -> str:
    """A table in Markdown, numbers on the right."""
    columns = list(rows[0])
    cells = [columns, *([_shown(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    right = [isinstance(rows[0][column], int | float) for column in columns]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(texts, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width + 1) + (":" if is_right else "-") for width, is_right in zip(widths, right, strict=True)
    )
    return "\n".join([line(columns), f"|{'|'.join(rule)}|", *map(line, cells[1:])])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)
