"""Figures look the same for everybody."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from mmjsd.modalities import Modality
from mmjsd.reporting.canvas import Drawn, draw_all, house_style, panels, sheets

#: Settings of a user: each shows, or fails where there is no LaTeX.
SETTINGS = {
    "text.usetex": "True",
    "font.family": "serif",
    "font.size": "30",
    "figure.facecolor": "red",
    "axes.facecolor": "black",
    "axes.titleweight": "bold",
    "axes.spines.left": "False",
    "savefig.bbox": "tight",
    "savefig.dpi": "30",
    "savefig.format": "pdf",
    "savefig.transparent": "True",
    "lines.linewidth": "9",
}


def draw(folder: Path) -> bytes:
    """A figure with text, lines and axes."""

    def make() -> Drawn:
        figure, axes = sheets(["one", "two"], 2, 2, "a title")
        axes[0].plot([0, 1], [1, 2])
        figure.add_subplot().set_xlabel("a label")
        return Drawn(figure, "A figure.")

    draw_all(folder, {"a": make}, 0, "")
    return (folder / "a.png").read_bytes()


def test_settings_of_the_process_do_not_show_and_stay(tmp_path: Path) -> None:
    clean = draw(tmp_path)
    with matplotlib.rc_context(SETTINGS):
        assert draw(tmp_path) == clean
        assert matplotlib.rcParams["lines.linewidth"] == 9


@pytest.mark.parametrize("place", ["matplotlibrc", "config/matplotlib/matplotlibrc"])
def test_a_matplotlibrc_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Of the working directory, or of the user; others: tests/reliability/test_hostile_environment.py."""
    clean = draw(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("".join(f"{name}: {value}\n" for name, value in SETTINGS.items()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    code = (
        "import matplotlib; from pathlib import Path; from test_canvas import draw\n"
        "assert matplotlib.rcParams['lines.linewidth'] == 9\n"  # it is read
        "draw(Path('drawn'))"
    )
    drawn = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "drawn/a.png").read_bytes() == clean


def test_the_style_is_the_same_as_without_settings() -> None:
    with house_style():
        ours = dict(matplotlib.rcParams)
    given = {"font.size", "axes.titlesize", "axes.spines.top", "axes.spines.right", "figure.titlesize"}
    given |= {"legend.frameon", "savefig.dpi", "backend", "text.parse_math", "svg.hashsalt"}
    assert {name for name in ours if ours[name] != matplotlib.rcParamsDefault[name]} <= given


def test_long_texts_have_larger_cells_in_panels_as_high_as_others() -> None:
    kinds = {"image": ("image", (3, 64, 64)), "word": ("text", (8,)), "text": ("text", (256,))}
    modalities = {name: Modality(name, kind, shape, 1) for name, (kind, shape) in kinds.items()}
    with house_style():
        figure, axes = panels(modalities, 13.3, 10, "a title", header=2.3)
        figure.canvas.draw()
    cells = [ax.get_window_extent().width / 10 for ax in axes]
    assert cells[0] == pytest.approx(cells[1], rel=0.02)
    assert cells[2] > 2 * cells[0]
    rows = [ax.get_ylim()[0] for ax in axes]
    assert rows == [13.3, 13.3, pytest.approx(6.3)]  # the header, and whole rows
    assert abs(rows[2] * cells[2] - rows[0] * cells[0]) < cells[2]
