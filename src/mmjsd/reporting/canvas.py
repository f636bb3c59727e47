"""What all figures share: sheets of samples, images as pixels and text as text, and PNGs with captions."""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmjsd.errors import MmjsdError
from mmjsd.modalities import CELL, Modality, kind_of
from mmjsd.modalities.text import LONG, draw_compared
from mmjsd.provenance.files import atomic_write
from mmjsd.reporting.catalogue import CAPTIONS

if TYPE_CHECKING:  # scipy.stats is slow to import
    from mmjsd.reporting.verdicts import Measured

__all__ = [
    "Drawn",
    "colours",
    "draw",
    "draw_all",
    "draw_level",
    "draw_line",
    "handles_of",
    "house_style",
    "name_lines",
    "note",
    "panels",
    "refuse_unless_writable",
    "save",
    "scale_of",
    "sheets",
    "shortened",
]

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 11,
    "legend.frameon": False,
    "savefig.dpi": 180,
    # names and texts come from the data and the user: they are no markup
    "text.parse_math": False,
    "text.usetex": False,
    "svg.hashsalt": "mmjsd",
}

#: Options of `savefig` by ending: nothing of the moment, and hardly a loss. PNGs a few percent larger take
#: two thirds of the time.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 4}},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
    **{ending: {"pil_kwargs": {"quality": 95}} for ending in ("jpg", "jpeg", "webp")},
    **{ending: {"pil_kwargs": {"compression": "tiff_deflate"}} for ending in ("tif", "tiff")},
}


#: By how much the cells of long texts are larger than others.
_MAGNIFIED = 2.2

#: Lines that a legend names.
_NAMED = 40


class Drawn(NamedTuple):
    """A figure, and what is to be said of it."""

    figure: Figure
    caption: str


@contextmanager
def house_style() -> Iterator[None]:
    """The style of all figures while this lasts, whatever a user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def sheets(
    titles: Sequence[str],
    rows: float | Sequence[float],
    columns: float,
    title: str,
    scales: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with one sheet of empty cells for each title, side by side, wrapped after three.

    The sheets may have rows of different number, and cells larger than others by a scale.
    """
    across = min(3, len(titles))
    down = -(-len(titles) // across)
    scales = scales or [1.0] * len(titles)
    rows = [rows] * len(titles) if isinstance(rows, int | float) else rows
    widths, heights = [0.0] * across, [0.0] * down
    for place, (number, scale) in enumerate(zip(rows, scales, strict=True)):
        widths[place % across] = max(widths[place % across], columns * scale)
        heights[place // across] = max(heights[place // across], number * scale)
    figure = Figure(
        figsize=(sum(widths) * CELL + across * 0.2, sum(heights) * CELL + down * 0.35 + 0.4),
        layout="constrained",
    )
    grid = figure.subplots(down, across, squeeze=False, width_ratios=widths, height_ratios=heights)
    axes = list(grid.flat)
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, name, number in zip(axes, titles, rows, strict=False):
        ax.set(xlim=(0, columns), ylim=(number, 0), aspect="equal", anchor="N")
        ax.set_title(name, y=1.0)  # where it would be put, after laying out ticks that there are not
        ax.axis("off")
    figure.suptitle(title)
    return figure, axes[: len(titles)]


def panels(
    modalities: Mapping[str, Modality],
    rows: float,
    columns: float,
    title: str,
    *,
    header: float = 0,
    block: float = 1,
) -> tuple[Figure, list[Axes]]:
    """A figure with a sheet for each modality, those of long texts large enough to be read.

    Of the latter as many blocks of rows below the header are to be seen as are not higher than the others.
    """
    scales = [scale_of(modality) for modality in modalities.values()]
    seen = [
        rows if scale == 1 else header + block * max(1, round((rows / scale - header) / block))
        for scale in scales
    ]
    return sheets(list(modalities), seen, columns, title, scales)


def scale_of(modality: Modality) -> float:
    """Tell how much larger than others the cells of a modality are."""
    return _MAGNIFIED if kind_of(modality).ALPHABET and math.prod(modality.shape) > LONG else 1.0


def shortened(name: str) -> str:
    """Cut the name of a column to what has room beside others."""
    return name if len(name) <= 24 else f"{name[:23]}…"


def colours(number: int) -> list[str]:
    """Give as many colours for lines, which differ."""
    if number <= 10:
        return [f"C{index}" for index in range(number)]
    scale = matplotlib.colormaps["turbo"]
    return [matplotlib.colors.to_hex(scale(index / (number - 1))) for index in range(number)]


def handles_of(palette: Sequence[str]) -> list[Any]:
    """Give what stands for lines of these colours in a legend."""
    return [matplotlib.lines.Line2D([], [], color=colour) for colour in palette]


def name_lines(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> str:
    """Make room below for a legend, whatever the lines are called; tell if there are too many to be named."""
    if len(names) > _NAMED:
        return f" The {len(names)} lines are too many to be named."
    width = 0.5 + 0.075 * max(map(len, names), default=0)  # inches
    columns = max(1, min(4, int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(names) // columns))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
    return ""


def draw_level(ax: Axes, value: float, name: str, style: str = "--") -> None:
    """Draw what a metric is held against as a thin line across, with its name at the right end."""
    ax.axhline(value, color="0.4", lw=0.8, ls=style)
    ax.annotate(
        name,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="right",
        size=7,
        color="0.4",
    )


def draw_line(ax: Axes, points: "Mapping[float, Measured]", colour: str, name: str) -> None:
    """Draw a metric of a run against numbers: a line through its means, with bars of its spread."""
    ax.errorbar(
        list(points),
        [point.mean for point in points.values()],
        [point.spread for point in points.values()],
        color=colour,
        lw=1.2,
        marker="o",
        ms=3,
        capsize=2,
        elinewidth=0.8,
        label=name,
    )


def note(title: str, text: str) -> Drawn:
    """A figure of nothing but why it shows nothing."""
    figure, (axes,) = sheets([""], 2, 16, title)
    axes.text(8, 1, text, ha="center", va="center")
    return Drawn(figure, text)


def draw(
    axes: Axes,
    modality: Modality,
    values: Tensor,
    columns: int,
    *,
    left: float = 0,
    top: float = 0,
    reference: Tensor | None = None,
) -> None:
    """Fill cells of a sheet row by row with inputs or generated samples (N, ...), as :class:`Kind` says.

    Where there is a reference (N, L), texts are compared with it.
    """
    if reference is None:
        kind_of(modality).draw(axes, values, columns, left=left, top=top)
    else:
        draw_compared(axes, values, reference, columns, left=left, top=top)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the ending of ``path`` names; equal bytes for equal figures."""
    buffer = io.BytesIO()
    ending = _ending(path)
    figure.savefig(buffer, format=ending, **_FORMATS[ending])
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, buffer.getvalue())


def refuse_unless_writable(path: Path) -> None:
    """Raise MmjsdError if no figure can be saved there: the ending names no format, or it is a folder."""
    if path.is_dir():
        raise MmjsdError(
            f"{path}: is a folder; name a file in it, with one of the endings {', '.join(_FORMATS)}"
        )
    if _ending(path) not in _FORMATS:
        raise MmjsdError(f"{path}: the format of a picture is its ending; take one of {', '.join(_FORMATS)}")


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def draw_all(folder: Path, makers: Mapping[str, Callable[[], Drawn]], seed: int, about: str) -> None:
    """Make figures, each from a fresh seed, and write them and their captions into a folder.

    Args:
        folder: where to.
        makers: name without ending -> what draws it.
        seed: of the sampling.
        about: said at the end of each caption.
    """
    captions = {}
    with house_style():
        for name, make in makers.items():
            torch.manual_seed(seed)  # changing one figure leaves the others
            figure, caption = make()
            save(figure, folder / f"{name}.png")
            captions[f"{name}.png"] = f"{caption} {about}"
    atomic_write(folder / CAPTIONS, json.dumps(captions, indent=2, allow_nan=False) + "\n")
    print(f"{folder}: {len(captions)} figures", flush=True)
