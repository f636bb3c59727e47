"""What starting each command takes: wall time, processor time, and the imports it is spent on.

Of a step it is the imports of all that it runs, as the pipeline says; what it then does is not among them,
nor what is imported only then: MLflow by `track`, scikit-learn by `evaluate`. Each with compiled bytecode
that is there, and without any that is kept, as where PYTHONDONTWRITEBYTECODE is set and nothing was compiled
before.
"""

import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

from measuring import Row, Spent, parsed, parser, process, ratio, report, run

from mmjsd import params, pipeline

REPOSITORY = Path(__file__).parents[1]
TIMED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


def commands(file: Path) -> dict[str, list[str]]:
    """Give the arguments of Python that start each command."""
    found = {
        "python": ["-c", "pass"],
        "mmjsd --help": ["-m", "mmjsd", "--help"],
        "mmjsd params check": ["-m", "mmjsd", "params", "check", "--params", str(file)],
        "snakemake --version": ["-m", "snakemake", "--version"],
    }
    for step in pipeline.steps(params.load(file)):
        modules = dict.fromkeys(place.partition(":")[0] for place in step.code())
        found.setdefault(step.command, ["-c", f"import mmjsd.cli, {', '.join(modules)}"])
    return found


def imports(arguments: list[str], environment: dict[str, str]) -> Counter[str]:
    """Measure the seconds of each package's own modules."""
    output = process([sys.executable, "-X", "importtime", *arguments], env=environment).output
    taken: Counter[str] = Counter()
    for microseconds, module in TIMED.findall(output):
        taken[module.partition(".")[0]] += int(microseconds) / 1e6
    return taken


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--params", type=Path, default=REPOSITORY / "params.yaml", metavar="FILE")
    options.add_argument("--commands", nargs="+", metavar="COMMAND", help="some of them; default: all")
    options.add_argument("--turns", type=int, default=3)
    options = parsed(options, commands=["mmjsd --help", "data build"], turns=1)
    options.params = str(options.params)
    every = commands(Path(options.params))
    chosen = {name: every[name] for name in options.commands or every}
    with tempfile.TemporaryDirectory() as folder:
        plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
        kept = plain | {"PYTHONPYCACHEPREFIX": f"{folder}/kept"}
        never = plain | {"PYTHONPYCACHEPREFIX": f"{folder}/never", "PYTHONDONTWRITEBYTECODE": "1"}
        spent: dict[str, dict[str, list[Spent]]] = {name: {"kept": [], "never": []} for name in chosen}
        for turn in range(options.turns + 1):
            for name, arguments in chosen.items():
                for how, environment in (("kept", kept), ("never", never)):
                    if turn or how == "kept":  # the first ones compile it
                        spent[name][how].append(process([sys.executable, *arguments], env=environment))
        packages = {name: imports(arguments, kept) for name, arguments in chosen.items()}
    rows: list[Row] = []
    for name, times in spent.items():
        with_bytecode, without = times["kept"][1:], times["never"]
        rows.append(
            {
                "command": name,
                "s": median(one.seconds for one in with_bytecode),
                "processor s": median(one.processor_seconds for one in with_bytecode),
                "s without bytecode": median(one.seconds for one in without),
                "processor s without": median(one.processor_seconds for one in without),
                "times": ratio(
                    [one.processor_seconds for one in without],
                    [one.processor_seconds for one in with_bytecode],
                ),
                "most of it in": ", ".join(f"{p} {s:.2f}" for p, s in packages[name].most_common(4)),
            }
        )
    results = {f"{row['command']}, processor s": row["processor s"] for row in rows}
    report(options, {"Start of each command; seconds of its imports": rows}, results)


if __name__ == "__main__":
    run(main)
