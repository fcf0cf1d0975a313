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

    from .recipes import Recipe


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
    import torch

    names_in, names_out = tensor_names(manifest)
    shapes = shapes_at(manifest, size_wh, outputs=True)
    examples = tuple(torch.zeros(shapes[name]) for name in names_in)
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in (names_in[0], names_out[0])}
    for tensor in manifest.get("state", ()):
        free = {0: "batch", **{i: str(s) for i, s in enumerate(tensor["shape"]) if isinstance(s, str)}}
        axes[tensor["input"]] = axes[tensor["output"]] = free
    return _exported(module, examples, names_in, names_out, axes, manifest["name"])


def _exported(
    module: Any,
    examples: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    axes: Mapping[str, Mapping[int, str]],
    name: str,
) -> onnx.ModelProto:
    import onnx
    import torch

    data = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings(), _silent():
            # The tracing exporter is deprecated; the newer one needs a package of its own, names nodes worse.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                examples,
                data,  # type: ignore[arg-type]
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # whatever a stranger's module raises
        shown = ", ".join("x".join(map(str, example.shape)) for example in examples)
        raise ModelError(f"{name}: PyTorch cannot export it with {shown}: {first_line(error)}") from error
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


class Plain:
    """A module as it is, its tensors called as its recipe calls them: the reference for a raw graph."""

    def __init__(self, module: Any, inputs: list[str], outputs: list[str], states: Mapping[str, Any]) -> None:
        self.inputs, self.states = inputs, states
        self._run = module_runner(module, inputs, outputs)

    def __call__(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._run(feed)


def trace_plain(
    module: Any, recipe: Recipe, size_wh: tuple[int, int], name: str
) -> tuple[onnx.ModelProto, Plain]:
    """A module of which a recipe alone says how it is fed, as an ONNX graph at one size.

    Raises
    ------
    ModelError
        If it cannot be run on, or exported at, this size; or has states, whose shapes a recipe does not say.
    """
    import torch

    if recipe.state:
        raise ModelError(
            f"{name}: recurrent TorchScript cannot be exported by a recipe: give the module to "
            "livecut.export.module_source with the shapes of its states"
        )
    width, height = size_wh
    example = torch.zeros(1, 3, height, width)
    try:
        with torch.no_grad():
            values = module(example)
    except Exception as error:  # whatever a stranger's module raises
        raise ModelError(
            f"{name}: cannot run on a picture of 1x3x{height}x{width}: {first_line(error)}"
        ) from None
    count = len(values) if isinstance(values, (tuple, list)) else 1
    inputs = [recipe.input_name or "image"]
    named = isinstance(recipe.output, str)
    outputs = [str(recipe.output)] if count == 1 and named else [f"output{index}" for index in range(count)]
    model = _exported(module, (example,), inputs, outputs, {}, name)
    return model, Plain(module, inputs, outputs, {})
