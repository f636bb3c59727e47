"""Convolutions that compute what those of `torch.nn` do, with the same parameters, in less time.

What joins a whole input, or comes from a single point, is a matrix product and is computed as one. So are
those along texts: windows of (B, L, channels) times the weights. The other transposed convolutions take their
weight gradient from the convolution that they are the transpose of, for which oneDNN needs half the time, and
those to the few channels of an image are computed as convolutions, in a third of the time.
Networks that normalise batches of long texts take those as images of a single row, channels last.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "RowConv1d", "RowConvTranspose1d"]

FEW = 8
"""Up to so many channels, of the vectors of 16 that oneDNN computes, most are empty."""


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
        tensors = [x, self.weight, self.bias]
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            tensors = [None if tensor is None else tensor.to(dtype) for tensor in tensors]
        return _Transposed.apply(*tensors, self.stride, self.padding, self.output_padding)


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
    """A transposed convolution, of which the gradients are those of a convolution."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, more: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        if weight.shape[1] <= FEW and (stride, padding) == ((2, 2), (1, 1)):
            if (weight.shape[2:], more) == ((4, 4), (0, 0)):
                return _doubled(x, weight, bias)
            if (weight.shape[2:], more) == ((3, 3), (1, 1)):
                return _doubled(x, F.pad(weight, (0, 1, 0, 1)), bias)
        out = F.conv_transpose2d(x, weight, None, stride, padding, more)
        return _plus(out.permute(0, 2, 3, 1), bias).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        shape = (ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1)
        _, by_weight, _ = torch.ops.aten.convolution_backward(
            x, gradient, weight, None, *shape, (False, of_weight, False)
        )
        by_x = F.conv2d(gradient, weight, None, ctx.stride, ctx.padding) if of_x else None
        by_bias = gradient.sum((0, 2, 3)) if of_bias else None
        return by_x, by_weight, by_bias, None, None, None


def _doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Transposed convolution, 4 wide, of stride 2 and padding 1: (B, inputs, H, W) -> (B, outputs, 2H, 2W).

    Of every window of 2x2 inputs it makes the 2x2 outputs between them: a convolution 2 wide, whose outputs
    are then put side by side.
    """
    outputs = weight.shape[1]
    # along each side, output a of a window is made of its inputs by the weights a + 2 and a
    by_place = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(3, 5, 1, 0, 2, 4)
    kernel = by_place.flip(4, 5).flatten(0, 2).contiguous(memory_format=torch.channels_last)
    of_places = None if bias is None else bias.repeat(4)
    windows = F.conv2d(x, kernel, of_places, 1, 1).permute(0, 2, 3, 1)
    whole = windows.unflatten(3, (2, 2, outputs)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return whole[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


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
