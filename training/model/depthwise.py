"""A depthwise convolution whose gradients do not take most of a training step on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one filter a channel and the padding that keeps the size.

    In bfloat16 on a CPU oneDNN has fast code for a depthwise convolution and for the gradient of 3x3 filters;
    for the rest it falls back on reference code, and the gradients of 5x5 filters alone took over half of a
    training step. Here they are put together from what is fast. Everywhere else this is ``nn.Conv2d``.

    Parameters
    ----------
    channels : int
    kernel : int
        Odd, 3 or more.
    stride : int
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, *, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bfloat16_on_cpu = (
            x.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )
        if not (bfloat16_on_cpu and torch.is_grad_enabled()):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.bfloat16()
        made: torch.Tensor = _Depthwise.apply(x.bfloat16(), self.weight.bfloat16(), bias, self.stride[0])  # type: ignore[no-untyped-call]
        return made


class _Depthwise(torch.autograd.Function):
    """bfloat16 throughout: ``x`` (N, C, H, W), ``weight`` (C, 1, K, K), ``bias`` (C,) or None."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, weight.shape[2] // 2, groups=weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return (
            _of_input(gradient, x, weight, ctx.stride) if of_x else None,
            _of_weight(gradient, x, weight, ctx.stride) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
        )


def _of_input(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    pad = weight.shape[2] // 2
    if stride == 1:  # the same convolution with its filters turned round
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, pad, groups=weight.shape[0])
    return _native(gradient.float(), x.float(), weight.float(), stride, pad, of_x=True).to(x.dtype)


def _of_weight(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """The filters' gradient in 3x3 parts, which overlap where their side is no multiple of 3."""
    kernel = weight.shape[2]
    if kernel == 3:
        return _native(gradient, x, weight, stride, 1, of_x=False)
    height, width = ((side - 1) * stride + 3 for side in gradient.shape[2:])
    padded, part = F.pad(x, [kernel // 2] * 4), weight[:, :, :3, :3].contiguous()
    found = torch.empty_like(weight)
    starts = sorted({*range(0, kernel - 2, 3), kernel - 3})
    for row in starts:
        for column in starts:
            seen = padded[:, :, row : row + height, column : column + width]
            seen = seen.contiguous(memory_format=torch.channels_last)
            of_part = _native(gradient, seen, part, stride, 0, of_x=False)
            found[:, :, row : row + 3, column : column + 3] = of_part
    return found


def _native(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, pad: int, *, of_x: bool
) -> torch.Tensor:
    """PyTorch's own gradient: that of ``x``, or else that of ``weight``."""
    wanted = [of_x, not of_x, False]
    found: tuple[torch.Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], weight.shape[0], wanted
    )
    return found[wanted.index(True)]
