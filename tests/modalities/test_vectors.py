import numpy as np
import pytest
import torch

from mmjsd.modalities import vector
from mmjsd.reporting.canvas import house_style, sheets

WIDTHS = [1, 2, 7, 1000]


@pytest.mark.parametrize("width", WIDTHS)
def test_vectors_of_every_width_are_varied_and_classified(width: int) -> None:
    torch.manual_seed(0)
    body, x = vector.classifier_body((width,)), torch.randn(500, width)
    noise = vector.vary(x) - x
    assert noise.std().item() == pytest.approx(0.1, rel=0.2)
    assert body(x[:1]).shape == (1, 128)
    assert body(x).shape == (500, 128)


@pytest.mark.parametrize("width", WIDTHS)
def test_vectors_of_every_width_are_drawn_as_bars_in_their_cells(width: int) -> None:
    values = torch.stack([torch.linspace(-3, 3, width), torch.full((width,), 2.0), torch.zeros(width)])
    values[0, 0] = 1e6  # as a model that has learnt nothing may generate
    with house_style():
        figure, (axes,) = sheets(["v"], 2, 2, "")
        vector.draw(axes, values, 2)
        figure.canvas.draw()
    (drawn,) = axes.collections
    outlines = drawn.get_paths()
    assert len(outlines) == 3
    for place, outline in enumerate(outlines):
        row, column = divmod(place, 2)
        box = outline.get_extents()
        assert column < box.x0 < box.x1 < column + 1
        assert row < box.y0 <= box.y1 < row + 1
    # upwards is plus, from the middle of the cell; the axis points down
    box = outlines[1].get_extents()
    assert box.bounds == pytest.approx((1.1, 0.1, 0.8, 0.4))
    steps = np.unique(outlines[0].vertices[:, 0])
    assert steps == pytest.approx(np.linspace(0.1, 0.9, width + 1))
    assert axes.get_xlim() == (0, 2)
    assert axes.get_ylim() == (2, 0)
