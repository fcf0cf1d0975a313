"""Gradients of depthwise convolutions in bfloat16 on a CPU, against PyTorch's own in float32."""

import pytest

torch = pytest.importorskip("torch")

from livecut.training.model.blocks import ConvBlock
from livecut.training.model.depthwise import DepthwiseConv2d
from livecut.training.model.efficientnet import EfficientNetLite

CHANNELS = 12


def gradients(layer, picture, bfloat16):
    """Output, and gradients of input, weight and bias, as float32."""
    x = picture.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = layer(x)
    towards = torch.sin(torch.arange(y.numel()) * 0.7).view_as(y).bfloat16()
    y.backward(towards.to(y.dtype))
    return [y.detach().float(), x.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "size_hw"),
    [
        (3, 1, (16, 20)), (3, 2, (16, 20)), (3, 2, (15, 21)), (5, 1, (16, 24)), (5, 2, (16, 24)),
        (5, 2, (13, 18)), (5, 1, (2, 3)), (7, 1, (9, 11)), (7, 2, (12, 10)),
    ],
)  # fmt: skip
def test_gradients_in_bfloat16_are_those_of_float32(kernel, stride, size_hw, bias):
    torch.manual_seed(0)
    layer = DepthwiseConv2d(CHANNELS, kernel, stride, bias=bias)
    with torch.no_grad():  # only the arithmetic is to differ
        for parameter in layer.parameters():
            parameter.copy_(parameter.bfloat16())
    picture = torch.randn(2, CHANNELS, *size_hw).bfloat16().float()
    for exact, fast in zip(gradients(layer, picture, False), gradients(layer, picture, True), strict=True):
        assert fast.shape == exact.shape
        assert (fast - exact).abs().max() < 0.01 * exact.abs().max()


def test_a_weight_at_rest_and_a_picture_without_gradient_get_none():
    layer = DepthwiseConv2d(CHANNELS, 5)
    layer.weight.requires_grad_(False)
    picture = torch.randn(1, CHANNELS, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        layer(picture).sum().backward()
    assert layer.weight.grad is None
    assert picture.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((CHANNELS,), 64.0))


def test_without_gradients_it_is_an_ordinary_convolution():
    layer, picture = DepthwiseConv2d(CHANNELS, 5), torch.randn(1, CHANNELS, 8, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = layer(picture)
        torch.testing.assert_close(made, torch.nn.Conv2d.forward(layer, picture), rtol=0, atol=0)


def test_every_depthwise_convolution_of_a_network_is_one():
    layers = [*EfficientNetLite(0).modules(), *ConvBlock(CHANNELS, CHANNELS, 5, depthwise=True).modules()]
    grouped = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1]
    assert len(grouped) == 16
    assert all(isinstance(layer, DepthwiseConv2d) for layer in grouped)
