"""The page of results: what a study asked, what it was made with, its numbers and what these settle."""

import itertools
import math
import re
import statistics
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.keys import SAMPLES
from mmjsd.evaluation.metrics_file import Metrics, read_metrics
from mmjsd.evaluation.presentation import chance_of, headline, is_better_the_less, with_summaries
from mmjsd.params.sources import origin
from mmjsd.params.sweeps import written
from mmjsd.provenance.files import atomic_write
from mmjsd.reporting.canvas import colours, draw_level, draw_line, handles_of, house_style, name_lines, save
from mmjsd.reporting.catalogue import swept_numbers
from mmjsd.reporting.sweeps import differing
from mmjsd.reporting.tables import Table, about_data, duration, judges_of, markdown
from mmjsd.reporting.verdicts import LEVEL, Measured, best, difference, digits_of, over_seeds

__all__ = ["Study", "write_results"]

_BEGINNING = """# Results

Studies of this repository, each made by the commands above its tables. `mmjsd results` writes this page from
the metrics files of the runs, and nothing here is typed. Values are means over the seeds ± half of their 95 %
interval (Student's t on the seeds; of one seed that of the test samples, which does not show how training
varies). Bold: the best of a column, and all that Welch's t-test cannot tell from it (95 %, adjusted for the
number of runs by Holm); where nothing is bold, nothing tells runs apart. What each number means:
[numbers.md](numbers.md).
"""


class Study(NamedTuple):
    """The runs of a parameter file."""

    file: Path
    """Its leading comment says what is asked, and the command."""
    rows: Sequence[Mapping[str, Any]]
    """One a run and seed, as of :func:`mmjsd.reporting.tables.compare`."""
    made: Sequence[Mapping[str, str]]
    """Of each row, where and with what it was evaluated, as its record has it."""
    sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Sweep -> run -> varied key -> value."""
    sizes: Mapping[str, Mapping[str, int]]
    """Dataset -> split -> number of samples."""
    published: Sequence[Mapping[str, Any]]
    """Values from papers, as of :func:`mmjsd.reporting.tables.read_published`."""


class _Group(NamedTuple):
    """Runs of one table: a row each, or rows and columns where they differ in several keys."""

    name: str
    across: str
    """The key that columns differ in, or nothing."""
    runs: dict[str, tuple[str, str]]
    """Run -> what its row and column are called."""


def write_results(study: Study, page: Path) -> None:
    """Put a study into the page of results, in the place of what the page says of its parameter file.

    Its figures go into a folder of the name of the page, beside it.

    Args:
        study: whose runs have all been evaluated.
        page: a Markdown file, or where there is to be one.

    Raises:
        MmjsdError: metrics are missing or damaged, or the file or the page is not as it should be.
    """
    place = study.file.as_posix()
    begin, end = f"<!-- {place} -->\n", f"<!-- end of {place} -->\n"
    section = begin + "\n".join(_section(study, page)) + end
    before = page.read_text(encoding="utf-8") if page.exists() else _BEGINNING
    head, found, rest = before.partition(begin)
    _, closed, tail = rest.partition(end)
    if found and not closed:
        raise MmjsdError(f"{page}: has no line `{end.strip()}`; add it after what the page says of that file")
    atomic_write(page, head + section + tail if found else f"{before.rstrip()}\n\n{section}")


def _section(study: Study, page: Path) -> Iterator[str]:
    lines, commands = _heading(study.file)
    title, _, text = " ".join(lines).partition(": ")
    yield f"## {title[:1].upper()}{title[1:]}\n"
    yield _wrapped(f"{text[:1].upper()}{text[1:]}")
    name = f"uv run mmjsd results --params {study.file.as_posix()}"
    yield "\n".join(f"    {command}" for command in (*commands, name)) + "\n"
    metrics: dict[str, list[Metrics]] = {}
    for row in study.rows:
        metrics.setdefault(row["run"], []).append(with_summaries(read_metrics(Path(row["metrics"]))))
    yield _wrapped(f"{_made(study.made)} {_times(metrics)}")
    for dataset in dict.fromkeys(row["dataset"] for row in study.rows):
        of_dataset = [row for row in study.rows if row["dataset"] == dataset]
        yield _wrapped(_data(study, of_dataset, metrics[of_dataset[0]["run"]]))
    for group in _groups(study):
        yield f"### {group.name}{f', by {group.across}' if group.across else ''}\n"
        of_group = {run: metrics[run] for run in group.runs}
        picture = page.with_suffix("") / f"{study.file.stem}-{group.name}.png"
        if group.across:
            yield from _crossed(group, of_group, picture)
        else:
            yield from _side_by_side(group, of_group)
            yield from _by_views(study, group, of_group, picture)


def _wrapped(text: str, indent: str = "") -> str:
    """Break a paragraph into lines that fit on a screen."""
    return (
        textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        + "\n"
    )


# --- what it is -------------------------------------------------------------------------------------------


def _heading(file: Path) -> tuple[list[str], list[str]]:
    """What the comment at the beginning of a parameter file says, and the commands in it."""
    lines, commands = list[str](), list[str]()
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line[1:]
        if text.startswith("   "):
            commands.append(text.strip())
        elif not text.startswith(" yaml-language-server"):
            lines.append(text.strip())
    if not commands or ": " not in " ".join(lines):
        raise MmjsdError(
            f"{file}: must begin with a comment `# TITLE: what the study asks.` and the command that makes "
            "it, indented by three spaces"
        )
    return lines, commands


def _made(made: Sequence[Mapping[str, str]]) -> str:
    """From which code, with which library and on what machine."""

    def each(write: Any) -> str:
        return _listed([*dict.fromkeys(filter(None, map(write, made)))] or [""])

    def commit(of: Mapping[str, str]) -> str:
        changed = " with changes" if of.get("git.dirty") == "true" else ""
        return f"`{of['git.commit'][:7]}`{changed}" if "git.commit" in of else ""

    def machine(of: Mapping[str, str]) -> str:
        gpu = f", {of['machine.gpu']}" if "machine.gpu" in of else ""
        return f"{of['machine.processor']} ({of['machine.cores']} cores){gpu}"

    commits = each(commit)
    return (
        f"{f'Commit {commits}, ' if commits else ''}PyTorch {each(lambda of: of['version.torch'])}, "
        f"{each(machine)}."
    )


def _times(metrics: Mapping[str, Sequence[Metrics]]) -> str:
    """How long a run takes."""
    seeds = [of_seed for of_run in metrics.values() for of_seed in of_run]
    parts = []
    for what, key in (("trained", "meta/train_seconds"), ("evaluated", "meta/evaluation_seconds/total")):
        seconds = [of_seed[key] for of_seed in seeds if key in of_seed]
        if seconds:
            parts.append(f"is {what} in {duration(min(seconds))} to {duration(max(seconds))}")
    of_run = len(seeds) // len(metrics)
    number = (
        f"{len(metrics)} runs of {of_run} seeds each" if of_run > 1 else f"{len(metrics)} runs of one seed"
    )
    return (
        f"{number}; one {' and '.join(parts)} (by the clock, beside whatever else the machine did)."
        if parts
        else number
    )


def _data(study: Study, rows: Sequence[Mapping[str, Any]], metrics: Sequence[Metrics]) -> str:
    first = rows[0]
    sizes = {f"{SAMPLES}{split}": size for split, size in study.sizes[first["dataset"]].items()}
    about = about_data(first["source"], {**sizes, **metrics[0]})
    if origin(first["source"]) == "folder":
        about += " The files are not in the repository."
    judges = judges_of(metrics[0])
    of_judges = f" {judges[:1].upper()}{judges[1:]}." if judges else ""
    return f"Data `{first['dataset']}` ({first['kind']}): {about}{of_judges}"


# --- tables -----------------------------------------------------------------------------------------------


def _groups(study: Study) -> Iterator[_Group]:
    """What is compared: each sweep over several keys, and of each dataset all other runs."""
    alone = {row["run"]: row["dataset"] for row in study.rows}
    labels: dict[str, str] = {}
    for sweep, runs in study.sweeps.items():
        varied = differing(runs)
        columns = ["dataset"] if "dataset" in varied else swept_numbers(runs)
        if not columns or len(varied) == 1:
            labels |= {run: _label(values, varied) or run for run, values in runs.items()}
            continue
        across = columns[0]
        rows = [key for key in varied if key != across]
        yield _Group(
            sweep,
            across,
            {run: (_label(values, rows), written(values[across])) for run, values in runs.items()},
        )
        for run in runs:
            del alone[run]
    for dataset in dict.fromkeys(alone.values()):
        runs_of = [run for run in alone if alone[run] == dataset]
        yield _Group(dataset, "", {run: (labels.get(run, run), "") for run in runs_of})


def _label(values: Mapping[str, Any], keys: Collection[str]) -> str:
    """Words by themselves, switches by their key where they are on, numbers with their key."""
    parts = []
    for key in keys:
        value = values[key]
        if isinstance(value, bool):
            parts += [key] if value else []
        else:
            parts.append(value if isinstance(value, str) else f"{key}={written(value)}")
    return " + ".join(parts)


def _columns(metrics: Mapping[str, Sequence[Metrics]]) -> dict[str, str]:
    """Title -> key of what is compared: the headline, also by other posteriors, where runs have it."""
    keys = {key for of_run in metrics.values() for of_seed in of_run for key in of_seed}
    columns: dict[str, str] = {}
    for title, key in headline().items():
        others = sorted(k for k in keys if k.startswith(f"{key}@"))
        columns |= {title: key} if key in keys else {}
        columns |= {f"{title}, by {other.partition('@')[2]}": other for other in others}
    return columns


def _cells(runs: Sequence[Measured], among: Sequence[bool]) -> list[str]:
    """Mean and half of its interval, in bold the best and what cannot be told from it, `among` these."""
    digits = digits_of(runs)
    cells = []
    for run, bold in zip(runs, among, strict=True):
        cell = f"{run.mean:.{digits}f}" if run.values else ""
        if run.values and math.isfinite(run.margin):
            cell += f" ± {run.margin:.{digits}f}"
        cells.append(f"**{cell}**" if bold else cell)
    return cells


def _side_by_side(group: _Group, metrics: Mapping[str, Sequence[Metrics]]) -> Iterator[str]:
    """A row a run and a column a metric, then what each column settles."""
    names = [row for row, _ in group.runs.values()]
    columns: dict[str, list[str]] = {}
    verdicts = []
    for title, key in _columns(metrics).items():
        runs = [over_seeds(of_run, key) for of_run in metrics.values()]
        less = is_better_the_less(key, next(iter(metrics.values()))[0])
        among = best(runs, less=less)
        columns[title] = _cells(runs, among)
        verdicts.append(_wrapped(f"- {title}: {_verdict(names, runs, among, less=less)}", indent="  "))
    columns["training time"] = [_median(over_seeds(of, "meta/train_seconds")) for of in metrics.values()]
    rows = [[name, *cells] for name, *cells in zip(names, *columns.values(), strict=True)]
    yield f"{markdown(Table(['run', *columns], rows))}\n"
    yield "".join(verdicts)


def _verdict(names: Sequence[str], runs: Sequence[Measured], among: Sequence[bool], *, less: bool) -> str:
    """Say which is best, what cannot be told from it, and by how much it is better than the next."""
    known = {name: run for name, run in zip(names, runs, strict=True) if run.values}
    is_among = dict(zip(names, among, strict=True))
    if not any(among):
        return "nothing tells the runs apart."
    order = sorted(known, key=lambda name: known[name].mean, reverse=not less)
    top, *others = order
    equals, worse = ([name for name in others if is_among[name] is state] for state in (True, False))
    text = f"{top} is best"
    text += f"; {_listed(equals)} cannot be told from it" if equals else ""
    pair = [known[top], known[worse[0]]]
    apart = difference(*(reversed(pair) if less else pair))
    low, high = apart.interval
    digits = digits_of(runs)
    amount = f"{apart.value:.{digits}f} ({100 * LEVEL:.0f} %: {low:.{digits}f} to {high:.{digits}f})"
    return f"{text}; the next, {worse[0]}, is worse by {amount}."


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


#: What is timed beside whatever else the machine did, which settles nothing.
_COSTS = {"training time": "meta/train_seconds", "evaluation time": "meta/evaluation_seconds/total"}


def _crossed(group: _Group, metrics: Mapping[str, Sequence[Metrics]], picture: Path) -> Iterator[str]:
    """A figure, and for each metric a table of the runs, by two things in which they differ."""
    across = list(dict.fromkeys(column for _, column in group.runs.values()))
    rows = list(dict.fromkeys(row for row, _ in group.runs.values()))
    run_of = {names: run for run, names in group.runs.items()}
    panels: dict[str, _Panel] = {}
    chances: dict[str, float | None] = {}
    everything = list(itertools.chain(*metrics.values()))
    tables: list[str] = []
    for title, key in (_columns(metrics) | _COSTS).items():
        measured = {
            (row, column): over_seeds(metrics[run_of[row, column]], key)
            if (row, column) in run_of
            else _NOTHING
            for column in across
            for row in rows
        }
        if "@" not in key:  # with each of several posteriors figures have too many panels
            panel = f"{title}, s" if title in _COSTS else title
            panels[panel] = {row: [measured[row, column] for column in across] for row in rows}
            chances[panel] = chance_of(key, everything)
        columns = [[measured[row, column] for row in rows] for column in across]
        verdict = []
        if title in _COSTS:
            cells = [[_median(run) for run in runs] for runs in columns]
        else:
            less = is_better_the_less(key, everything[0])
            among = [best(runs, less=less) for runs in columns]
            cells = [_cells(runs, bold) for runs, bold in zip(columns, among, strict=True)]
            verdict = [_wrapped(_verdicts(rows, across, among, group.across))]
        table = Table([title, *across], [list(row) for row in zip(rows, *cells, strict=True)])
        tables += [f"{markdown(table)}\n", *verdict]
    yield _drawn(panels, chances, across, group.across, picture)
    yield from tables


def _median(seconds: Measured) -> str:
    return duration(statistics.median(seconds.values)) if seconds.values else ""


def _verdicts(
    rows: Sequence[str], across: Sequence[str], among: Sequence[Sequence[bool]], varied: str
) -> str:
    """Say for which columns each row is among the best, `among`: column -> row -> whether it is."""
    places: dict[tuple[str, ...], list[str]] = {}
    for row, bold in zip(rows, zip(*among, strict=True), strict=True):
        places.setdefault(tuple(itertools.compress(across, bold)), []).append(row)
    best_of = [
        f"for {f'{varied} {_listed(columns)}' if len(columns) < len(across) else f'every {varied}'} "
        f"{_listed(names)}"
        for columns, names in sorted(places.items(), key=lambda item: -len(item[0]))
        if columns
    ]
    silent = [column for column, bold in zip(across, among, strict=True) if not any(bold)]
    said = f"Best, or not to be told from the best: {'; '.join(best_of)}." if best_of else ""
    return f"{said}{f' For {varied} {_listed(silent)} nothing tells them apart.' if silent else ''}".strip()


#: What figures call a mean over all subsets of so many modalities, by the first part of its key.
_NAMES = {"coherence": "cross coherence", "representation": "classification of latents"}
#: Such a key.
_VIEWS = re.compile(r"(coherence/cross|representation/\w+/views)/(\d+)")


def _by_views(
    study: Study, group: _Group, metrics: Mapping[str, Sequence[Metrics]], picture: Path
) -> Iterator[str]:
    """By the number of modalities that are given, beside what papers have; of two there is nothing to see."""
    sizes: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for of_run in metrics.values() for key in of_run[0]):
        if match := _VIEWS.fullmatch(key):
            sizes.setdefault(match[1], []).append(match[2])
    about = next(row for row in study.rows if row["run"] in group.runs)
    published = [entry for entry in study.published if entry["dataset"] == about["kind"]]
    names = [name for name, _ in group.runs.values()]
    panels: dict[str, _Panel] = {}
    chances: dict[str, float | None] = {}
    tables: list[str] = []
    most: list[str] = []
    objective = {row["run"]: row["objective"] for row in study.rows}
    own = {objective[run]: of_run for run, of_run in metrics.items()}
    for title, numbers in sizes.items():
        across = sorted(numbers, key=int)
        if len(across) < 3:
            continue
        measured = [[over_seeds(of, f"{title}/{size}") for of in metrics.values()] for size in across]
        panel = _NAMES[title.partition("/")[0]]
        panels[panel] = dict(zip(names, map(list, zip(*measured, strict=True)), strict=True))
        chances[panel] = chance_of(f"{title}/", itertools.chain(*metrics.values()))
        rows = [
            list(row) for row in zip(names, *(_cells(runs, best(runs)) for runs in measured), strict=True)
        ]
        beside: dict[str, dict[str, str]] = {}
        for entry in published:
            start, _, size = entry["metric"].rpartition("/")
            if start == title:
                beside.setdefault(f"published: {entry['objective']}", {})[size] = str(entry["value"])
        if title.startswith("representation/") and (raw := _of_values(next(iter(metrics.values()))[0])):
            beside["regression on the values"] = raw
        rows += [[name, *(values.get(size, "") for size in across)] for name, values in beside.items()]
        most = max(most, across, key=len)
        table = markdown(Table([f"`{title}/k`, k =", *across], rows))
        agreement = _agreement(own, published, title, across)
        tables += [f"{table}\n", *([_wrapped(agreement)] if agreement else [])]
    if tables:
        yield _drawn(panels, chances, most, "given modalities", picture)
        yield from tables
    for source in dict.fromkeys(entry["source"] for entry in published):
        yield _wrapped(f"Published: {source}")


def _agreement(
    own: Mapping[str, Sequence[Metrics]],
    published: Sequence[Mapping[str, Any]],
    title: str,
    across: Sequence[str],
) -> str:
    """Say how many pairs of objectives are in the order that published values have; nothing without any."""
    parts = []
    for size in across:
        key = f"{title}/{size}"
        values = {entry["objective"]: entry["value"] for entry in published if entry["metric"] == key}
        here = {name: over_seeds(own[name], key).mean for name in values if name in own}
        pairs = [pair for pair in itertools.combinations(here, 2) if len({values[name] for name in pair}) > 1]
        agreeing = sum((here[a] > here[b]) == (values[a] > values[b]) for a, b in pairs)
        parts += [f"{agreeing} of {len(pairs)} (k = {size})"] if pairs else []
    return f"Pairs of objectives in the published order: {', '.join(parts)}." if parts else ""


def _of_values(metrics: Metrics) -> dict[str, str]:
    """Number of modalities -> what the same regression scores on the values themselves, on average."""
    of_size: dict[str, list[float]] = {}
    for key, value in metrics.items():
        start, _, subset = key.rpartition("/")
        if start == "representation/raw":
            of_size.setdefault(str(subset.count("-") + 1), []).append(value)
    return {size: f"{statistics.fmean(values):.3f}" for size, values in of_size.items()}


# --- figures ----------------------------------------------------------------------------------------------

_NOTHING = Measured(())

_Panel = Mapping[str, Sequence[Measured]]
"""What a line is called -> its values, one for each tick."""


def _drawn(
    panels: Mapping[str, _Panel],
    chances: Mapping[str, float | None],
    ticks: Sequence[str],
    name: str,
    picture: Path,
) -> str:
    """Draw lines against named ticks, a panel a metric, and give what shows the picture on the page."""
    lines = list(next(iter(panels.values())))
    across = min(3, len(panels))
    with house_style():
        figure = Figure(figsize=(3.2 * across, 2.4 * -(-len(panels) // across)), layout="constrained")
        axes = list(figure.subplots(-(-len(panels) // across), across, squeeze=False).flat)
        for ax, (title, panel) in zip(axes, panels.items(), strict=False):
            for colour, (line, values) in zip(colours(len(lines)), panel.items(), strict=True):
                draw_line(ax, {x: value for x, value in enumerate(values) if value.values}, colour, line)
            if (chance := chances[title]) is not None:
                draw_level(ax, chance, "chance")
            ax.set_title(title)
            ax.set_xlabel(name)
            ax.set_xticks(range(len(ticks)), ticks)
        for ax in axes[len(panels) :]:
            ax.remove()
        name_lines(figure, handles_of(colours(len(lines))), lines)
        save(figure, picture)
    words = f"{', '.join(panels)} against {name}; bars: one standard deviation over the seeds"
    return f"![{words}]({picture.parent.name}/{picture.name})\n"
