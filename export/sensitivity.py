"""Which layers INT8 hurts most: each is made INT8 alone, and the alpha is compared with the float model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .ranges import Progress

MOST_GROUPS = 80
"""A network with more layers is measured in groups of neighbours: each measurement compiles it once."""

Distance = Callable[[Sequence[str]], float]
"""Mean squared difference of alpha with only these layers in INT8."""


def measure(layers: Sequence[str], distance: Distance, progress: Progress | None = None) -> dict[str, float]:
    """Each layer's own error, in falling order; layers of a group share its error evenly.

    Parameters
    ----------
    layers : sequence of str
        In the order of the graph.
    distance : callable
        See ``Distance``.
    """
    size = max(1, -(-len(layers) // MOST_GROUPS))
    found: dict[str, float] = {}
    for start in range(0, len(layers), size):
        group = layers[start : start + size]
        error = distance(group)
        found.update({name: error / len(group) for name in group})
        if progress:
            progress("sensitivity of each layer", min(start + size, len(layers)) / len(layers))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def keep_counts(total: int, most_share: float) -> list[int]:
    """How many of the most sensitive layers to keep in float, try by try: 1, 2, 4, ... of ``total``."""
    most = int(total * most_share)
    counts = []
    count = 1
    while count <= most:
        counts.append(count)
        count *= 2
    return counts


def share(errors: Mapping[str, float], kept: Sequence[str]) -> float:
    """What share of the summed error the layers ``kept`` make up."""
    total = sum(errors.values())
    return sum(errors.get(name, 0.0) for name in kept) / total if total else 0.0
