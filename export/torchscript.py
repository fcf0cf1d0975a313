"""PyTorch modules and TorchScript files as sources of an export."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError
from .checks import OPSET
from .onnx_file import first_line
from .onnx_shapes import shapes_at
from .runners import Runner, module_runner

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn


def need_torch() -> None:
    """Raise DeviceUnavailable where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise DeviceUnavailable(
            "weights of PyTorch need the package torch: pip install livecut[train], or export them to ONNX "
            "where it is installed"
        ) from None


def trace(module: nn.Module, manifest: Mapping[str, Any], size_wh: tuple[int, int]) -> onnx.ModelProto:
    """``module`` as an ONNX graph with free batch, height and width, and the manifest's names.

    Parameters
    ----------
    module : torch.nn.Module or torch.jit.ScriptModule
        In evaluation mode. Takes the picture and then every state, gives the alpha and then every state, in
        the manifest's order.
    manifest : mapping
        Names and shapes.
    size_wh : (int, int)
        Of the example it is traced with.

    Raises
    ------
    ModelError
        If the module cannot be run on, or exported at, this size.
    """
    import onnx
    import torch

    names_in, names_out = tensor_names(manifest)
    shapes = shapes_at(manifest, size_wh, outputs=True)
    examples = tuple(torch.zeros(shapes[name]) for name in names_in)
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in (names_in[0], names_out[0])}
    for tensor in manifest.get("state", ()):
        free = {0: "batch", **{i: str(s) for i, s in enumerate(tensor["shape"]) if isinstance(s, str)}}
        axes[tensor["input"]] = axes[tensor["output"]] = free
    data = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings(), _silent():
            # The tracing exporter is deprecated; the newer one needs a package of its own, names nodes worse.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                examples,
                data,  # type: ignore[arg-type]
                input_names=names_in,
                output_names=names_out,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # whatever a stranger's module raises
        raise ModelError(
            f"{manifest['name']}: PyTorch cannot export it with inputs "
            f"{', '.join('x'.join(map(str, shapes[name])) for name in names_in)}: {first_line(error)}"
        ) from error
    return onnx.load_from_string(data.getvalue())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporter prints what it was not asked for."""
    import logging

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def tensor_names(manifest: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs, in order: picture or alpha first, then the states."""
    states = manifest.get("state", ())
    return (
        [manifest["input"]["name"], *(tensor["input"] for tensor in states)],
        [manifest["output"]["name"], *(tensor["output"] for tensor in states)],
    )


def runner_of(module: nn.Module, manifest: Mapping[str, Any]) -> Runner:
    """The module itself as the reference that the exported graph is held against."""
    return module_runner(module, *tensor_names(manifest))


def check_module(module: Any, name: str) -> None:
    """Raise UsageError's kin unless ``module`` is a torch module in evaluation mode."""
    from torch import nn

    if not isinstance(module, nn.Module):
        raise ModelError(f"{name}: expected a torch.nn.Module, got {type(module).__name__}")
    if module.training:
        raise ModelError(f"{name}: expected evaluation mode, got training mode; call module.eval() first")


def hash_of(module: nn.Module) -> str:
    """SHA-256 over names, shapes and values of a module's weights, and over its structure."""
    digest = hashlib.sha256(repr(module).encode())
    for name, value in sorted(module.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def load_torchscript(path: Path) -> torch.jit.ScriptModule:
    """Read a TorchScript file, in evaluation mode. Raises ModelError if it is not one."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(f"{path}: not a readable TorchScript file: {first_line(error)}") from None
