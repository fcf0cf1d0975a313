"""The matting network, from encoder to alpha."""

from .network import MattingNetwork

__all__ = ["MattingNetwork"]
