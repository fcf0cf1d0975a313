"""Which network a configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .article import ArticleNetwork
from .network import MattingNetwork
from .plate import PlateNetwork

NETWORKS: dict[str, type[nn.Module]] = {
    "matting": MattingNetwork,
    "plate": PlateNetwork,
    "article": ArticleNetwork,
}


def build_network(method: str, sizes: Mapping[str, Any]) -> nn.Module:
    """A fresh network of ``method``, with random weights.

    Raises
    ------
    ValueError
        If there is no such method, or a size is not one of its network's.
    """
    if method not in NETWORKS:
        raise ValueError(f'method: expected one of {", ".join(NETWORKS)}, got "{method}"')
    try:
        return NETWORKS[method](**sizes)
    except TypeError as error:
        raise ValueError(f"network: {error}") from None
