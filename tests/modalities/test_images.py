import numpy as np
import pytest
import torch

from mmjsd.modalities import image
from mmjsd.reporting.canvas import house_style, sheets

SHAPES = [(1, 1, 1), (1, 5, 5), (2, 4, 4), (3, 7, 9), (1, 1, 50), (3, 40, 24), (3, 96, 72), (1, 28, 28)]


def test_pixels_become_shares() -> None:
    rows = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    torch.testing.assert_close(image.as_input(rows), torch.tensor([[[[0.0, 0.2, 1.0]]]]))


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_every_shape_are_varied_and_classified(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    body = image.classifier_body(shape)
    for count in (1, 5):  # the last batch may be a single image
        varied = image.vary(torch.rand(count, *shape))
        assert varied.shape == (count, *shape)
        assert varied.min() >= 0
        assert varied.max() <= 1
        assert body(varied).shape == (count, 128)
    assert sum(parameter.numel() for parameter in body.parameters()) < 1_500_000


@pytest.mark.parametrize("side", [28, 32, 64])
def test_the_classifier_halves_images_thrice(side: int) -> None:
    """The weights are in files: names and shapes have to stay."""
    body = image.classifier_body((3, side, side))
    weights = {name: tuple(value.shape) for name, value in body.state_dict().items() if value.dim() > 1}
    first, later = ({"3.weight": (32, 32, 3, 3)}, 3) if side <= 32 else ({}, 0)
    assert weights == {
        "0.weight": (32, 3, 4, 4),
        **first,
        f"{3 + later}.weight": (64, 32, 4, 4),
        f"{6 + later}.weight": (64, 64, 3, 3),
        f"{9 + later}.weight": (128, 64, 4, 4),
        f"{12 + later}.weight": (128, 128, 3, 3),
        f"{16 + later}.weight": (128, 128 * (side // 8) ** 2),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_every_shape_are_drawn(shape: tuple[int, ...]) -> None:
    """The last of three, white, in the only cell of the second row, with nothing beside it."""
    images = torch.stack([torch.zeros(shape), torch.full(shape, 0.2), torch.ones(shape)])
    with house_style():
        figure, (axes,) = sheets(["m"], 2, 2, "")
        image.draw(axes, images, 2, left=1, top=3)
        figure.canvas.draw()
    (drawn,) = axes.get_images()
    assert drawn.get_extent() == [1, 3, 5, 3]
    # a cell is square, and an image in its middle as high and wide as it is
    side = max(shape[1:]) + 2
    pixels = np.asarray(drawn.get_array()).reshape(2 * side, 2 * side, -1)
    top, left = ((side - length) // 2 for length in shape[1:])
    for column, value in ((0, 0), (side, 51)):
        cell = pixels[:side, column : column + side]
        assert (cell[top : top + shape[1], left : left + shape[2]] == value).all()
        assert (cell != 255).any(2).sum() == shape[1] * shape[2]
    assert (pixels[side:] == 255).all()
