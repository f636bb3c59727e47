"""Convolutions that compute what those of `torch.nn` do, with the same parameters, in less time.

What joins a whole input, or comes from a single point, is a matrix product and is computed as one. So are
those along texts: windows of (B, L, channels) times the weights. The other transposed convolutions take their
weight gradient from the convolution that they are the transpose of, for which oneDNN needs half the time.
Networks that normalise batches of long texts take those as images of a single row, channels last.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "RowConv1d", "RowConvTranspose1d"]


class Conv1d(nn.Conv1d):
    """(B, inputs, L) -> (B, outputs, L'), laid out as (B, L', outputs)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1,):
            windows = x.transpose(1, 2)
        elif self.kernel_size == x.shape[2:] and self.padding == (0,):
            windows = x.transpose(1, 2).flatten(1)[:, None]
        elif _halves(self) and x.shape[2] % 2 == 0:
            padded = F.pad(x.transpose(1, 2), (0, 0, 1, 1))
            twos = padded.reshape(len(x), -1, 2 * x.shape[1])
            windows = torch.cat([twos[:, :-1], twos[:, 1:]], 2)
        else:
            return super().forward(x)
        return F.linear(windows, self.weight.transpose(1, 2).flatten(1), self.bias).transpose(1, 2)


class ConvTranspose1d(nn.ConvTranspose1d):
    """(B, inputs, L) -> (B, outputs, L'), laid out as (B, L', outputs)."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        weight = self.weight.transpose(1, 2)  # (inputs, width, outputs)
        if _is_point(self, x):
            out = (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        elif _halves(self) and self.output_padding == (0,):
            # the outputs 2 i are of the inputs i - 1 and i, the outputs 2 i + 1 of i and i + 1
            padded = F.pad(x.transpose(1, 2), (0, 0, 1, 1))
            twos = torch.cat([padded[:, :-1], padded[:, 1:]], 2)
            even = twos[:, :-1] @ torch.cat([weight[:, 3], weight[:, 1]])
            odd = twos[:, 1:] @ torch.cat([weight[:, 2], weight[:, 0]])
            out = torch.stack([even, odd], 2).flatten(1, 2)
        else:
            return super().forward(x)
        return _plus(out, self.bias).transpose(1, 2)


class Conv2d(nn.Conv2d):
    """(B, inputs, H, W) -> (B, outputs, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.kernel_size or any(self.padding):
            return super().forward(x)
        # without copies, if they are channels last
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)[:, :, None, None]


class ConvTranspose2d(nn.ConvTranspose2d):
    """(B, inputs, H, W) -> (B, outputs, H', W')."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        if _is_point(self, x):
            weight = self.weight.permute(0, 2, 3, 1)
            out = (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
            return _plus(out, self.bias).permute(0, 3, 1, 2)
        if x.device.type != "cpu":
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            x, weight = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (x, weight))
        out = _Transposed.apply(x, weight, self.stride, self.padding, self.output_padding)
        return _plus(out.permute(0, 2, 3, 1), self.bias).permute(0, 3, 1, 2)


class RowConv1d(nn.Conv1d):
    """(B, inputs, 1, L) -> (B, outputs, 1, L')."""

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = (1, *self.stride), (0, *self.padding)
        return F.conv2d(x, _as_rows(self.weight), self.bias, stride, padding)


class RowConvTranspose1d(nn.ConvTranspose1d):
    """(B, inputs, 1, L) -> (B, outputs, 1, L')."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        stride, padding, more = (1, *self.stride), (0, *self.padding), (0, *self.output_padding)
        return F.conv_transpose2d(x, _as_rows(self.weight), self.bias, stride, padding, more)


class _Transposed(torch.autograd.Function):
    """A transposed convolution without bias, of which the gradients are those of a convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Any, padding: Any, more: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv_transpose2d(x, weight, None, stride, padding, more)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad[:2]
        shape = (ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1)
        _, by_weight, _ = torch.ops.aten.convolution_backward(
            x, gradient, weight, None, *shape, (False, of_weight, False)
        )
        by_x = F.conv2d(gradient, weight, None, ctx.stride, ctx.padding) if of_x else None
        return by_x, by_weight, None, None, None


def _as_rows(weight: Tensor) -> Tensor:
    """The weights (outputs, inputs, 1, width), channels last, which makes the output so too."""
    return weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _halves(layer: Any) -> bool:
    """Whether it halves a length, or doubles it, by windows of 4."""
    return (*layer.kernel_size, *layer.stride, *layer.padding) == (4, 2, 1)


def _is_point(layer: Any, x: Tensor) -> bool:
    """Whether it makes all its output of a single point."""
    return set(x.shape[2:]) == {1} and not any((*layer.padding, *layer.output_padding))


def _plus(out: Tensor, bias: Tensor | None) -> Tensor:
    """Add the bias of the channels, which are last, in the precision of the output."""
    return out if bias is None else out + bias.to(out.dtype)
