"""Optimisation profiles: the shapes an engine takes, checked in our words before TensorRT sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..manifest import Manifest

Shape = Sequence[int]
Profile = tuple[Shape, Shape, Shape]
"""(min, opt, max)."""


def fixed_profiles(manifest: Manifest, size_wh: tuple[int, int], batch: int = 1) -> dict[str, Profile]:
    """Profiles for one input size: an engine of its own for each size is the fastest.

    Parameters
    ----------
    manifest : Manifest
        Of the model; its state tensors follow the size.
    size_wh : (int, int)
        Width and height of the network's input.
    batch : int
        Pictures at a time, state included.
    """
    width, height = size_wh
    shapes: dict[str, tuple[int, ...]] = {manifest.input_name: (batch, 3, height, width)}
    for tensor in manifest.state:
        shape = tensor.shape_for(size_wh)
        shapes[tensor.input] = (batch * shape[0], *shape[1:])
    return {name: (shape, shape, shape) for name, shape in shapes.items()}


def check_profiles(network: Any, profiles: Mapping[str, Profile] | None) -> dict[str, Any]:
    """The shapes of all inputs and outputs for a passport, once every profile fits its input.

    Raises
    ------
    UsageError
        If an input has free sizes and no profile, or a profile does not fit.
    """
    given = dict(profiles or {})
    shapes: dict[str, Any] = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = list(tensor.shape)
        profile = given.pop(tensor.name, None)
        if profile is None:
            if any(size < 0 for size in shape):
                raise UsageError(
                    f"profiles: the input {tensor.name!r} has free sizes ({_shown(shape)}); "
                    "say its least, usual and largest shape"
                )
            shapes[tensor.name] = shape
            continue
        _check(tensor.name, shape, profile)
        shapes[tensor.name] = dict(zip(("min", "opt", "max"), map(list, profile), strict=True))
    if given:
        inputs = ", ".join(shapes)
        raise UsageError(f"profiles: the model has no input {sorted(given)[0]!r}; it has {inputs}")
    for index in range(network.num_outputs):
        tensor = network.get_output(index)
        shapes[tensor.name] = list(tensor.shape)
    return shapes


def _check(name: str, shape: list[int], profile: Profile) -> None:
    shown = " / ".join(_shown(part) for part in profile)
    if len(profile) != 3 or any(len(part) != len(shape) for part in profile):
        raise UsageError(f"profiles: {name!r}: expected 3 shapes of {len(shape)} sizes, got {shown}")
    for axis, size in enumerate(shape):
        low, usual, high = (part[axis] for part in profile)
        if not 1 <= low <= usual <= high:
            raise UsageError(f"profiles: {name!r}: expected min <= opt <= max and at least 1, got {shown}")
        if size >= 0 and not low == usual == high == size:
            raise UsageError(
                f"profiles: {name!r}: axis {axis} is {size} in the model ({_shown(shape)}), got {shown}; "
                "export with --dynamic, or give the model's own size"
            )


def _shown(shape: Sequence[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)
