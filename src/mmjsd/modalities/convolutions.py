"""Convolutions that compute what those of `torch.nn` do, with the same parameters, in less time.

What joins a whole input, or comes from a single point, is a matrix product and is computed as one. So are
those along texts: windows of (B, L, channels) times the weights. The other transposed convolutions take their
weight gradient from the convolution that they are the transpose of, for which oneDNN needs half the time.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]


class Conv1d(nn.Conv1d):
    """(B, inputs, L) -> (B, outputs, L'), laid out as (B, L', outputs)."""

    def forward(self, x: Tensor) -> Tensor:
        (width,), (stride,), (padding,) = self.kernel_size, self.stride, self.padding  # type: ignore[str-unpack]
        x = x.transpose(1, 2)
        if padding:
            x = F.pad(x, (0, 0, int(padding), int(padding)))
        if width > 1:
            x = x.unfold(1, width, stride).transpose(2, 3).flatten(2)
        return F.linear(x, self.weight.transpose(1, 2).flatten(1), self.bias).transpose(1, 2)


class ConvTranspose1d(nn.ConvTranspose1d):
    """(B, inputs, L) -> (B, outputs, L'), laid out as (B, L', outputs)."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        is_point = x.shape[2] == 1 and not any((*self.padding, *self.output_padding))
        doubles = (*self.kernel_size, *self.stride, *self.padding, *self.output_padding) == (4, 2, 1, 0)
        if not (is_point or doubles):
            return super().forward(x)
        weight = self.weight.transpose(1, 2)
        parts = (x.transpose(1, 2) @ weight.flatten(1)).unflatten(2, weight.shape[1:])
        if is_point:
            out = parts[:, 0]
        else:
            # the outputs 2 i are of the inputs i and i - 1, the outputs 2 i + 1 of i and i + 1
            after, even, odd, before = parts.unbind(2)
            even = even + F.pad(before[:, :-1], (0, 0, 1, 0))
            odd = odd + F.pad(after[:, 1:], (0, 0, 0, 1))
            out = torch.stack([even, odd], 2).flatten(1, 2)
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
        if x.shape[2:] == (1, 1) and not any((*self.padding, *self.output_padding)):
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


def _plus(out: Tensor, bias: Tensor | None) -> Tensor:
    """Add the bias of the channels, which are last, in the precision of the output."""
    return out if bias is None else out + bias.to(out.dtype)
