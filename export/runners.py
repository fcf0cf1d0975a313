"""What computes a network, so that two of them can be compared: name -> array in, name -> array out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError
from ..engine.openvino_core import openvino_core

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Arrays = dict[str, np.ndarray]
Runner = Callable[[Mapping[str, np.ndarray]], Arrays]
"""Computes one frame; the arrays given are not written to, and those returned are the caller's."""


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU, its threads asleep between runs so that other work gets the cores.

    Raises
    ------
    DeviceUnavailable
        If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceUnavailable(
            "an export is proved by running it, for which onnxruntime is not installed: "
            f"pip install livecut[export] ({error})"
        ) from None
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised, and said once
    # INT8 as the graph writes it: onnxruntime's own fusions of it are wrong where the rest is FP16.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_runner(model: onnx.ModelProto | Path, name: str = "model") -> Runner:
    """A runner over ONNX Runtime. Raises ModelError where it cannot load or run the model."""
    source = model if isinstance(model, Path) else model.SerializeToString()
    try:
        session = open_session(source)
    except DeviceUnavailable:
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ModelError(f"{name}: onnxruntime cannot load it: {_line(error)}") from None
    inputs = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]

    def run(feed: Mapping[str, np.ndarray]) -> Arrays:
        try:
            values = session.run(outputs, {key: value for key, value in feed.items() if key in inputs})
        except Exception as error:  # onnxruntime's exceptions share no public base
            shown = ", ".join(f"{key} {'x'.join(map(str, value.shape))}" for key, value in feed.items())
            raise ModelError(f"{name}: cannot run with {shown}: {_line(error)}") from None
        return dict(zip(outputs, values, strict=True))

    return run


def module_runner(module: Any, inputs: list[str], outputs: list[str]) -> Runner:
    """A runner over a torch module: ``inputs`` are its arguments in order, ``outputs`` what it returns."""
    import torch

    def run(feed: Mapping[str, np.ndarray]) -> Arrays:
        with torch.no_grad():
            values = module(*(torch.from_numpy(np.ascontiguousarray(feed[name])) for name in inputs))
        values = values if isinstance(values, (tuple, list)) else (values,)
        return {name: value.numpy() for name, value in zip(outputs, values, strict=False)}

    return run


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def openvino_runner(model: Path) -> Runner:
    """A runner over OpenVINO on the CPU, in the precision of the file itself: no bfloat16 on top.

    Raises
    ------
    ModelError
        If it cannot read the file.
    """

    core = openvino_core()
    try:
        compiled = core.compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise ModelError(f"{model.name}: openvino cannot load it: {_line(error)}") from None
    outputs = {output.any_name: index for index, output in enumerate(compiled.outputs)}
    inputs = {value.any_name for value in compiled.inputs}

    def run(feed: Mapping[str, np.ndarray]) -> Arrays:
        values = compiled({name: value for name, value in feed.items() if name in inputs})
        return {name: np.array(values[index]) for name, index in outputs.items()}

    return run
