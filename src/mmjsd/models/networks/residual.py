"""Residual blocks 2.0 * x + 0.3 * f(x) that halve or double, in one or two dimensions.

f is batch normalisation, ReLU, a 1-wide convolution, batch normalisation, ReLU and the convolution that
changes the size; x is brought to it by a convolution of its own (He et al. 2016, "Identity mappings").
"""

from torch import Tensor, nn

from mmjsd.modalities.convolutions import RowConv1d, RowConvTranspose1d

__all__ = ["Block"]

_CONVOLUTIONS = {1: (RowConv1d, RowConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d)}


class Block(nn.Module):
    """(B, inputs, height, width) -> (B, outputs, ...), by a convolution 4 wide.

    Args:
        dimensions: 2, or 1: of texts, whose height is 1.
        inputs, outputs: channels.
        up: transposed, so doubling instead of halving.
        whole: from or to a size of 1 (stride 1, no padding, 4 <-> 1) instead of by a factor of two.
    """

    def __init__(self, dimensions: int, inputs: int, outputs: int, *, up: bool = False, whole: bool = False):
        super().__init__()
        plain, transposed = _CONVOLUTIONS[dimensions]
        resize = transposed if up else plain
        stride, padding = (1, 0) if whole else (2, 1)
        self.shortcut = nn.Sequential(
            resize(inputs, outputs, 4, stride=stride, padding=padding, bias=False), nn.BatchNorm2d(outputs)
        )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            plain(inputs, inputs, 1, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            resize(inputs, outputs, 4, stride=stride, padding=padding, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * self.shortcut(x) + 0.3 * self.residual(x)
