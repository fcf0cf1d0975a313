"""What a predicted alpha is measured by while it learns. Every term is a mean over the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

PYRAMID_LEVELS = 5
WEIGHTS = {
    "bce": 1.0,
    "iou": 0.5,
    "l1": 1.0,
    "laplacian": 1.0,
    "gradient": 1.0,
    "composition": 0.0,
    "side": 0.3,
}


def merge_weights(changes: Mapping[str, float]) -> dict[str, float]:
    """``WEIGHTS`` with ``changes``; a term of weight 0 is not computed, and left out here.

    Raises
    ------
    ValueError
        If there is no such term, or none is left.
    """
    if unknown := sorted(set(changes) - set(WEIGHTS)):
        raise ValueError(f"losses: no term {', '.join(unknown)}; there are {', '.join(WEIGHTS)}")
    weights = {name: weight for name, weight in {**WEIGHTS, **changes}.items() if weight}
    if not weights:
        raise ValueError("losses: every term has weight 0")
    return weights


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
    total = predicted.new_zeros(predicted.shape[0])
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


def composition(predicted: torch.Tensor, alpha: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """L1 between the pictures that both alphas make of ``image`` over another background, per picture (N,).

    The background is the next picture of the batch, so an error counts where it would show. ``image`` is
    (N, 3, H, W) in -1..1; the result is on the scale of alpha.
    """
    shown = (image - image.roll(1, 0)).abs().mean(1, keepdim=True) / 2
    return ((predicted - alpha).abs() * shown).mean((1, 2, 3))


def coherence(predicted: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Temporal coherence: L1 between the changes from frame to frame of both, per clip (N,).

    Parameters
    ----------
    predicted, alpha : float (N, T, 1, H, W), 0..1
        T frames of N clips, at least two.
    """
    error = predicted - alpha
    return (error[:, 1:] - error[:, :-1]).abs().mean((1, 2, 3, 4))


def matting_loss(
    logits: torch.Tensor,
    sides: Sequence[torch.Tensor],
    alpha: torch.Tensor,
    trust: torch.Tensor,
    edge: torch.Tensor,
    *,
    image: torch.Tensor | None = None,
    weights: Mapping[str, float] | None = None,
) -> dict[str, torch.Tensor]:
    """``total``, weighted, and every term in it, unweighted.

    Parameters
    ----------
    logits : float32 (N, 1, H, W)
        Before the sigmoid.
    sides : sequence of float32 (N, 1, h, w)
        Logits at lower resolutions, compared with the alpha's average there.
    alpha : float32 (N, 1, H, W), 0..1
    trust, edge : float32 (N,)
        How far the mask is believed as a whole, and along its outline.
    image : float32 (N, 3, H, W), -1..1, optional
        For ``composition`` only.
    weights : mapping, optional
        From ``merge_weights``; only its terms are computed. ``WEIGHTS`` by default.
    """
    weights = merge_weights({}) if weights is None else weights
    predicted = torch.sigmoid(logits)
    target = believed_target(alpha, predicted, trust)
    compute = {
        "bce": lambda: F.binary_cross_entropy_with_logits(logits, target),
        "iou": lambda: (soft_iou(predicted, alpha) * trust).mean(),
        "l1": lambda: (predicted - target).abs().mean(),
        "laplacian": lambda: (laplacian(predicted, alpha) * edge).mean(),
        "gradient": lambda: (gradient(predicted, alpha) * edge).mean(),
        "composition": lambda: (composition(predicted, alpha, _needed(image)) * trust).mean(),
        "side": lambda: torch.stack([_side(side, alpha) for side in sides]).mean(),
    }
    terms = {name: compute[name]() for name in weights}
    total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
    return {"total": total, **terms}


def _needed(image: torch.Tensor | None) -> torch.Tensor:
    if image is None:
        raise ValueError("image: expected the pictures, which the composition loss needs, got None")
    return image


def _side(logits: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    small = F.adaptive_avg_pool2d(alpha, (logits.shape[2], logits.shape[3]))
    return F.binary_cross_entropy_with_logits(logits, small)
