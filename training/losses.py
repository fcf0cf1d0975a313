"""What a predicted alpha is measured by while it learns. Every term is a mean over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

PYRAMID_LEVELS = 5
WEIGHTS = {"bce": 1.0, "iou": 0.5, "l1": 1.0, "laplacian": 1.0, "gradient": 1.0, "side": 0.3}


def believed_target(alpha: torch.Tensor, predicted: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
    """The mask, softened towards the network's own answer where the mask is not fully trusted.

    Parameters
    ----------
    alpha, predicted : float (N, 1, H, W), 0..1
    trust : float (N,), 0..1
        1 returns ``alpha``.
    """
    share = trust.view(-1, 1, 1, 1)
    return alpha * share + predicted.detach() * (1 - share)


def soft_iou(predicted: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """``1 - intersection / union`` per picture, (N,); both empty is 0."""
    intersection = (predicted * alpha).sum((1, 2, 3))
    union = (predicted + alpha - predicted * alpha).sum((1, 2, 3))
    return 1 - (intersection + 1) / (union + 1)


def laplacian_pyramid(x: torch.Tensor, levels: int = PYRAMID_LEVELS) -> list[torch.Tensor]:
    """Detail of (N, C, H, W) at full, half, quarter ... size, and at last what is left."""
    pyramid = []
    for _ in range(levels - 1):
        small = F.avg_pool2d(x, 2)
        pyramid.append(x - F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False))
        x = small
    return [*pyramid, x]


def laplacian(predicted: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """L1 between Laplacian pyramids, coarser levels weighing more, per picture (N,)."""
    total = torch.zeros(predicted.shape[0])
    for level, detail in enumerate(laplacian_pyramid(predicted - alpha)):
        total = total + 2.0**level / PYRAMID_LEVELS * detail.abs().mean((1, 2, 3))
    return total


def outline_band(alpha: torch.Tensor) -> torch.Tensor:
    """1 within a few pixels of the outline, 0 far from it; found at a quarter of the size, to cost little."""
    small = F.avg_pool2d(alpha, 4)
    spread = F.max_pool2d(small, 3, 1, 1) + F.max_pool2d(-small, 3, 1, 1)
    return F.interpolate(spread, size=alpha.shape[-2:], mode="nearest")


def gradient(predicted: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """L1 between the differences of neighbouring pixels, close to the true outline, per picture (N,)."""
    band, error = outline_band(alpha), predicted - alpha
    across = (error[..., :, 1:] - error[..., :, :-1]).abs() * band[..., :, 1:]
    down = (error[..., 1:, :] - error[..., :-1, :]).abs() * band[..., 1:, :]
    return (across.sum((1, 2, 3)) + down.sum((1, 2, 3))) / (band.sum((1, 2, 3)) + 1)


def matting_loss(
    logits: torch.Tensor,
    sides: Sequence[torch.Tensor],
    alpha: torch.Tensor,
    trust: torch.Tensor,
    edge: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """All terms, unweighted, and ``total``, weighted by ``WEIGHTS``.

    Parameters
    ----------
    logits : float32 (N, 1, H, W)
        Before the sigmoid.
    sides : sequence of float32 (N, 1, h, w)
        Logits at lower resolutions, compared with the alpha's average there.
    alpha : float32 (N, 1, H, W), 0..1
    trust, edge : float32 (N,)
        How far the mask is believed as a whole, and along its outline.
    """
    predicted = torch.sigmoid(logits)
    target = believed_target(alpha, predicted, trust)
    terms = {
        "bce": F.binary_cross_entropy_with_logits(logits, target),
        "iou": (soft_iou(predicted, alpha) * trust).mean(),
        "l1": (predicted - target).abs().mean(),
        "laplacian": (laplacian(predicted, alpha) * edge).mean(),
        "gradient": (gradient(predicted, alpha) * edge).mean(),
        "side": torch.stack([_side(side, alpha) for side in sides]).mean(),
    }
    terms["total"] = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
    return terms


def _side(logits: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    small = F.adaptive_avg_pool2d(alpha, (logits.shape[2], logits.shape[3]))
    return F.binary_cross_entropy_with_logits(logits, small)
