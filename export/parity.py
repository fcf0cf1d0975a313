"""An ONNX file against the torch module it came from, on pictures and on edge cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnxruntime
    from torch import nn

# Float32 sums in another order differ by a few 1e-6 per layer; a real mistake is above 1e-2.
MAX_DIFFERENCE = 1e-3
MAX_MEAN_DIFFERENCE = 1e-5


class ParityError(ValueError):
    """The ONNX file does not compute what the module computes."""


@dataclass(frozen=True)
class Parity:
    """How far two networks are apart over some inputs. ``max_abs`` and ``mean_abs`` are in alpha, 0..1."""

    inputs: int
    max_abs: float
    mean_abs: float


def edge_cases(height: int, width: int) -> list[np.ndarray]:
    """Inputs where a wrong padding, scale or axis shows: flat, noise, a step, a bright pixel; three shapes.

    Returns
    -------
    list of ndarray of float32, shape (1, 3, h, w), values in -1..1
    """
    rng = np.random.default_rng(17)
    cases = []
    for h, w in ((height, width), (width, height), (64, 96)):
        step = np.full((1, 3, h, w), -1, np.float32)
        step[..., w // 3 :] = 1
        point = np.full((1, 3, h, w), -1, np.float32)
        point[:, :, h // 2, w // 2] = 1
        noise = rng.uniform(-1, 1, (1, 3, h, w)).astype(np.float32)
        cases += [np.full((1, 3, h, w), value, np.float32) for value in (-1, 0, 1)] + [step, point, noise]
    return cases


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU, its threads asleep between runs so that other work gets the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_parity(
    module: nn.Module,
    path: Path,
    inputs: Iterable[np.ndarray],
    *,
    max_difference: float = MAX_DIFFERENCE,
    max_mean_difference: float = MAX_MEAN_DIFFERENCE,
) -> Parity:
    """Run both on every input and return the difference.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    path : Path
        The ONNX file, run with ONNX Runtime on the CPU.
    inputs : iterable of ndarray of float32, shape (1, 3, H, W)

    Raises
    ------
    ParityError
        If the largest or the mean difference passes its limit, an output is outside 0..1 or not finite.
    """
    import torch

    session = open_session(path)
    count, largest, total = 0, 0.0, 0.0
    for image in inputs:
        with torch.no_grad():
            expected = module(torch.from_numpy(image)).numpy()
        (got,) = session.run(None, {session.get_inputs()[0].name: image})
        if got.shape != expected.shape:
            raise ParityError(f"{path.name}: output has shape {got.shape}, torch gives {expected.shape}")
        if not np.isfinite(got).all() or got.min() < 0 or got.max() > 1:
            raise ParityError(f"{path.name}: alpha outside 0..1 or not finite on input {count}")
        difference = np.abs(got - expected)
        count, largest, total = (
            count + 1,
            max(largest, float(difference.max())),
            total + float(difference.mean()),
        )
    parity = Parity(count, largest, total / max(count, 1))
    if count == 0:
        raise ParityError(f"{path.name}: no inputs to compare on")
    if parity.max_abs > max_difference or parity.mean_abs > max_mean_difference:
        raise ParityError(
            f"{path.name} differs from torch by {parity.max_abs:.2e} at most and {parity.mean_abs:.2e} "
            f"on average; the limits are {max_difference:.0e} and {max_mean_difference:.0e}"
        )
    return parity
