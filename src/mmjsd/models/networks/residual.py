"""Residual blocks 2.0 * x + 0.3 * f(x) that halve or double, in one or two dimensions.

f is batch normalisation, ReLU, a 1-wide convolution, batch normalisation, ReLU and the convolution that
changes the size; x is brought to it by a convolution of its own (He et al. 2016, "Identity mappings").
"""

from torch import Tensor, nn

__all__ = ["Block"]

_CONVOLUTIONS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d)}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class Block(nn.Module):
    """(B, inputs, ...) -> (B, outputs, ...), by a convolution 4 wide.

    Args:
        dimensions: 1 or 2.
        inputs, outputs: channels.
        up: transposed, so doubling instead of halving.
        whole: from or to a size of 1 (stride 1, no padding, 4 <-> 1) instead of by a factor of two.
    """

    def __init__(self, dimensions: int, inputs: int, outputs: int, *, up: bool = False, whole: bool = False):
        super().__init__()
        plain, transposed = _CONVOLUTIONS[dimensions]
        resize = transposed if up else plain
        stride, padding = (1, 0) if whole else (2, 1)
        norm = _NORMS[dimensions]
        self.shortcut = nn.Sequential(
            resize(inputs, outputs, 4, stride=stride, padding=padding, bias=False), norm(outputs)
        )
        self.residual = nn.Sequential(
            norm(inputs),
            nn.ReLU(),
            plain(inputs, inputs, 1, bias=False),
            norm(inputs),
            nn.ReLU(),
            resize(inputs, outputs, 4, stride=stride, padding=padding, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * self.shortcut(x) + 0.3 * self.residual(x)
