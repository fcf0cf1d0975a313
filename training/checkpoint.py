"""States of a run on disk: written whole or not at all, read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..engine.errors import ModelError

FORMAT = 1


class CheckpointError(ModelError):
    """A checkpoint cannot be used, or cannot be written."""


def save_checkpoint(path: Path, **state: Any) -> None:
    """Write ``state`` (tensors, numbers, text, and dictionaries and lists of them) to ``path``.

    Raises
    ------
    CheckpointError
        If it cannot be written whole; what was at ``path`` before is then still there.
    """
    partial = path.with_suffix(".part")
    try:
        torch.save({"format": FORMAT, **state}, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError where a disk is full
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written ({' '.join(str(error).split())})") from error


def load_checkpoint(path: Path, network: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote.

    Parameters
    ----------
    network : dict, optional
        The network's settings; a checkpoint of another network is refused.

    Raises
    ------
    CheckpointError
        If the file is missing, unreadable, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    held = state.get("config", {}).get("network")
    if network is not None and held != network:
        raise CheckpointError(f"{path}: of another network, {held}; this configuration has {network}")
    missing = [name for name in ("config", "network", "average", "counters") if name not in state]
    if missing:
        raise CheckpointError(f"{path}: incomplete, without {', '.join(missing)}")
    return state
