"""What all figures share: sheets of samples, images as pixels and text as text, and PNGs with captions."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.data import text
from mmjsd.errors import MmjsdError
from mmjsd.models.vae import Modality
from mmjsd.records import atomic_write
from mmjsd.reporting.catalogue import CAPTIONS

__all__ = [
    "CELL",
    "STYLE",
    "Drawn",
    "as_pictures",
    "draw",
    "draw_all",
    "note",
    "refuse_unless_writable",
    "save",
    "sheets",
]

CELL = 0.42
"""Width and height of a cell in inches."""

STYLE: Any = {
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
"""Of all figures, for `matplotlib.rc_context`."""

#: Options of `savefig` by ending: nothing of the moment, and hardly a loss.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
    **{ending: {"pil_kwargs": {"quality": 95}} for ending in ("jpg", "jpeg", "webp")},
    **{ending: {"pil_kwargs": {"compression": "tiff_deflate"}} for ending in ("tif", "tiff")},
}


class Drawn(NamedTuple):
    """A figure, and what is to be said of it."""

    figure: Figure
    caption: str


def sheets(titles: list[str], rows: float, columns: float, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with one sheet of empty cells for each title, side by side, wrapped after three."""
    across = min(3, len(titles))
    down = -(-len(titles) // across)
    figure = Figure(
        figsize=(across * (columns * CELL + 0.2), down * (rows * CELL + 0.35) + 0.4), layout="constrained"
    )
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, name in zip(axes, titles, strict=False):
        ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", title=name)
        ax.axis("off")
    figure.suptitle(title)
    return figure, axes[: len(titles)]


def note(title: str, text: str) -> Drawn:
    """A figure of nothing but why it shows nothing."""
    figure, (axes,) = sheets([""], 2, 16, title)
    axes.text(8, 1, text, ha="center", va="center")
    return Drawn(figure, text)


def draw(
    axes: Axes, modality: Modality, values: Tensor, columns: int, *, left: float = 0, top: float = 0
) -> None:
    """Fill cells row by row, from (left, top) on, each a unit wide and high.

    Args:
        axes: of `sheets`.
        modality: what the values are.
        values: (N, ...): images in 0..1, token ids (N, L) or character probabilities (N, L, A), or vectors.
        columns: cells of a row.
    """
    if modality.kind == "image":
        picture = _tiled(as_pictures(values), columns)
        rows = -(-len(values) // columns)
        axes.imshow(
            picture.squeeze(),
            extent=(left, left + columns, top + rows, top),
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest",
        )
        return
    values = values.cpu()
    for i in range(len(values)):
        x, y = left + i % columns, top + i // columns
        if modality.kind == "text":
            _write(axes, values[i], x, y)
        else:
            axes.plot(np.linspace(x + 0.1, x + 0.9, len(values[i])), y + 0.5 - 0.2 * values[i], "k", lw=0.5)


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
    with matplotlib.rc_context(STYLE):
        for name, make in makers.items():
            torch.manual_seed(seed)  # changing one figure leaves the others
            figure, caption = make()
            save(figure, folder / f"{name}.png")
            captions[f"{name}.png"] = f"{caption} {about}"
    atomic_write(folder / CAPTIONS, json.dumps(captions, indent=2, allow_nan=False) + "\n")
    print(f"{folder}: {len(captions)} figures", flush=True)


def as_pictures(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W), 0..1, as pixels (N, H, W, 3 or 1)."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _tiled(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """One picture of all, with a rim of a pixel around each."""
    rows = -(-len(pictures) // columns)
    rimmed = np.pad(
        pictures, ((0, rows * columns - len(pictures)), (1, 1), (1, 1), (0, 0)), constant_values=255
    )
    _, height, width, channels = rimmed.shape
    sheet = rimmed.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)


def _write(axes: Axes, characters: Tensor, x: float, y: float) -> None:
    ids = characters if characters.dim() == 1 else characters.argmax(-1)
    line = text.decode(ids[None].numpy())[0]
    # as many lines as make the block of text about as wide as high
    width = max(8, math.ceil(math.sqrt(2 * len(line))))
    block = "\n".join(line[start : start + width] for start in range(0, len(line), width))
    points = 72 * CELL / (0.65 * width)
    axes.text(x + 0.5, y + 0.5, block, family="monospace", size=points, ha="center", va="center")
