"""The network of the article, step by step under its own names: the baseline of the comparison.

    input -> denoise -> CNN features -> generator (and discriminator) -> feature fusion
          -> edge detection and repair -> cut-out

The article gives kernels, channels, activations and the input, 256 x 256 x 3. What it leaves open is decided
here and said: convolutions keep the size in the generator and halve it in the discriminator; the cut-out
stands on magenta, the corner of the colour cube that photographs come near least; alpha is read off the
cut-out by asking how far each pixel has moved from the picture towards magenta.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

KEY = (1.0, -1.0, 1.0)  # magenta in -1..1: what a cut-out shows where the background was
SLOPE = 0.2
SMALLEST_STRENGTH = 1e-3  # of a picture's distance from the key, squared
NEIGHBOURHOOD_PX = 5
GUIDE_PX = 9
GUIDE_SOFTNESS = 1e-2  # variance of the picture, in -1..1, below which it does not lead the alpha
SURE_EDGE = 0.25  # Sobel response of alpha, in alpha per pixel, from which a place is fully an edge
LUMA = (0.299, 0.587, 0.114)


class Features(nn.Sequential):
    """CNN features: 3x3 convolution, leaky ReLU, batch normalisation; once for each of ``channels``."""

    def __init__(self, channels: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for before, after in zip((3, *channels), channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE), nn.BatchNorm2d(after)]
        super().__init__(*layers)


class Generator(nn.Module):
    """From a picture to its cut-out over ``KEY``, both (N, 3, H, W) in -1..1."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = Features(channels)
        self.paint = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.paint(self.features(image)))


class Discriminator(nn.Module):
    """A map (N, 1, h, w) of how real each part of a cut-out looks: logits, the sigmoid is in the loss."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *channels), channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))

    def forward(self, cutout: torch.Tensor) -> torch.Tensor:
        return self.layers(cutout)


class ArticleNetwork(nn.Module):
    """Alpha of the subject by way of its cut-out.

    ``forward`` maps a float picture (N, 3, H, W), RGB in -1..1, to alpha (N, 1, H, W) in 0..1; ``cut_out`` is
    what is trained. Nothing but the generator has weights.
    """

    def __init__(self, channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        self.generator = Generator(channels)

    def cut_out(self, image: torch.Tensor) -> torch.Tensor:
        """The picture over ``KEY``, (N, 3, H, W) in -1..1."""
        return self.generator(denoise(image))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return repair_edges(fuse(image, self.cut_out(image)), image)

    def folded(self) -> ArticleNetwork:
        """A copy in evaluation mode, ready for export; its normalisation stays: a ReLU lies before it."""
        return copy.deepcopy(self).eval().float()


def denoise(image: torch.Tensor) -> torch.Tensor:
    """A 3x3 binomial filter over each channel; part of the network, so that it is the same everywhere."""
    row = image.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(row, row).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)


def over_key(image: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The true cut-out of ``image`` (N, 3, H, W), in -1..1, by ``alpha`` (N, 1, H, W): what is learnt."""
    key = image.new_tensor(KEY).view(1, 3, 1, 1)
    return key + alpha * (image - key)


def fuse(image: torch.Tensor, cutout: torch.Tensor) -> torch.Tensor:
    """Feature fusion: picture and cut-out give alpha (N, 1, H, W), 0..1.

    Alpha is the least-squares answer to ``cutout = key + alpha * (image - key)``, at the pixel itself; where
    the picture has nearly the key's colour, which leaves it undecided, over the pixel's neighbourhood.
    """
    key = image.new_tensor(KEY).view(1, 3, 1, 1)
    away = image - key
    agreement = ((cutout - key) * away).sum(1, keepdim=True)
    strength = (away * away).sum(1, keepdim=True)
    fine = agreement / (strength + SMALLEST_STRENGTH)
    coarse = _mean(agreement, NEIGHBOURHOOD_PX) / (_mean(strength, NEIGHBOURHOOD_PX) + SMALLEST_STRENGTH)
    sure = strength / (strength + 0.5)
    return (sure * fine + (1 - sure) * coarse).clamp(0, 1)


def repair_edges(alpha: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Edge detection and repair: specks and pinholes go, and outlines follow the picture's own.

    Sobel finds the edges of ``alpha`` (N, 1, H, W). There it becomes what a guided filter over the luma of
    ``image`` makes of it; elsewhere it is opened and closed by 3 x 3 pixels.
    """
    calm = -_most(-_most(_most(-_most(-alpha))))  # opening: least, most; closing: most, least
    edge = _most(_most((sobel(calm) / SURE_EDGE).clamp(0, 1)))  # and two pixels to both sides
    luma = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return (calm + edge * (_guided(calm, luma) - calm)).clamp(0, 1)


def sobel(x: torch.Tensor) -> torch.Tensor:
    """Size of the gradient of (N, 1, H, W), per pixel."""
    across = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([across, across.T])[:, None]
    slopes = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels)
    return (slopes.square().sum(1, keepdim=True) + 1e-12).sqrt()


def _guided(alpha: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    mean, guide_mean = _mean(alpha, GUIDE_PX), _mean(guide, GUIDE_PX)
    variance = _mean(guide * guide, GUIDE_PX) - guide_mean.square()
    slope = (_mean(guide * alpha, GUIDE_PX) - guide_mean * mean) / (variance.clamp(min=0) + GUIDE_SOFTNESS)
    offset = mean - slope * guide_mean
    return _mean(slope, GUIDE_PX) * guide + _mean(offset, GUIDE_PX)


def _mean(x: torch.Tensor, size_px: int) -> torch.Tensor:
    return F.avg_pool2d(x, size_px, 1, size_px // 2, count_include_pad=False)


def _most(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 3, 1, 1)
