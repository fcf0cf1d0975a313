"""ONNX to OpenVINO's own files (.xml and .bin), and which precision each layer of them then really has."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError, UsageError
from ..engine.manifest import Manifest
from ..engine.openvino_core import openvino_core

if TYPE_CHECKING:
    import openvino as ov

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS = ("fp32", "fp16", "int8")
COMPUTE_TYPES = {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"}
"""Layers of a compiled model that multiply: what a precision is claimed of."""
_NAMES = {"i8": "int8", "u8": "int8", "bf16": "bf16", "f16": "fp16", "f32": "fp32"}


@dataclass(frozen=True)
class Layer:
    """One layer of a compiled model, as the runtime describes it."""

    name: str
    kind: str
    precision: str
    """``int8``, ``bf16``, ``fp16``, ``fp32``, or what else the runtime says."""
    implementation: str
    """The kernel's name, such as ``brgconv_avx512_I8``."""

    @property
    def computes(self) -> bool:
        """Whether it multiplies, rather than moves or scales."""
        return self.kind in COMPUTE_TYPES


@dataclass
class OpenvinoReport:
    """What was written, and what this machine makes of it."""

    out: Path
    weights: Path
    """The ``.bin`` beside it."""
    precision_found: str
    layers: dict[str, int]
    """Precision -> layers that multiply, in the compiled model."""
    all_layers: dict[str, int]
    """The same over every layer."""
    stored: dict[str, int]
    """Type of the weights -> how many numbers are stored in it."""
    kept_higher: list[str]
    """Layers that multiply in a higher precision than asked for."""
    library_version: str
    device: str
    seconds: float
    parity: dict[str, float] = field(default_factory=dict)


def to_openvino(
    source: Path,
    out_xml: Path,
    *,
    precision: Precision,
    samples: Iterable[Mapping[str, np.ndarray]] = (),
    progress: Callable[[str, float], None] | None = None,
) -> OpenvinoReport:
    """Write ``source`` as ``out_xml`` and the ``.bin`` beside it; both whole, or neither.

    Parameters
    ----------
    source : Path
        An ONNX file; for ``int8``, one in QDQ form, as ``int8.quantise`` makes it.
    out_xml : Path
        Ends in ``.xml``.
    precision : str
        ``fp16`` halves the stored weights; a CPU still computes in what it has, and the report says in what.
    samples : iterable of mappings, optional
        Inputs to compare ``source`` and the result on.

    Raises
    ------
    DeviceUnavailable
        If openvino is not installed.
    ModelError
        If OpenVINO cannot read or compile it, or it is not what ``precision`` says.
    UsageError
        If ``precision`` or the name of the file is wrong.
    """
    source, out_xml = Path(source), Path(out_xml)
    if precision not in PRECISIONS:
        raise UsageError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if out_xml.suffix != ".xml":
        raise UsageError(f"{out_xml}: OpenVINO's files are called NAME.xml and NAME.bin; give the first")
    openvino = _openvino()
    start = time.perf_counter()
    core = openvino_core()
    report = progress or (lambda step, share: None)
    report("read", 0.0)
    try:
        model = core.read_model(str(source))
    except RuntimeError as error:
        raise ModelError(f"{source}: openvino cannot read it: {_line(error)}") from None
    out_xml.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".livecut-", dir=out_xml.parent) as scratch:
        fresh = Path(scratch) / out_xml.name
        report("write", 0.3)
        openvino.save_model(model, str(fresh), compress_to_fp16=precision == "fp16")
        report("compile and inspect", 0.5)
        found = _inspected(openvino, fresh, precision, source)
        parity = _compared(openvino, source, fresh, samples)
        for suffix in (".bin", ".xml"):  # the .xml last: it is the one that is opened
            os.replace(fresh.with_suffix(suffix), out_xml.with_suffix(suffix))
    report("compile and inspect", 1.0)
    return OpenvinoReport(
        out=out_xml,
        weights=out_xml.with_suffix(".bin"),
        **found,
        library_version=openvino.__version__.split("-")[0],
        device=core.get_property("CPU", "FULL_DEVICE_NAME").strip(),
        seconds=time.perf_counter() - start,
        parity=parity,
    )


def _inspected(openvino: Any, path: Path, precision: str, source: Path) -> dict[str, Any]:
    core = openvino_core()
    model = core.read_model(str(path))
    stored = stored_types(model)
    hint = {} if precision != "fp32" else {"INFERENCE_PRECISION_HINT": "f32"}
    try:
        compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **hint})
    except RuntimeError as error:
        raise ModelError(f"{source}: openvino cannot compile it: {_line(error)}") from None
    layers = layers_of(compiled)
    computing = Counter(layer.precision for layer in layers if layer.computes)
    if precision == "int8" and not computing["int8"]:
        raise ModelError(
            f"{source}: none of its {sum(computing.values())} multiplying layers is INT8 once compiled; "
            "quantise it first: livecut export --to int8 --calibrate FOLDER"
        )
    most = computing.most_common(1)[0][0] if computing else "fp32"
    wanted = {"int8"} if precision == "int8" else set(computing)
    return {
        "precision_found": f"fp16 weights, computed in {most}" if precision == "fp16" else most,
        "layers": dict(computing),
        "all_layers": dict(Counter(layer.precision for layer in layers)),
        "stored": stored,
        "kept_higher": [layer.name for layer in layers if layer.computes and layer.precision not in wanted],
    }


def compiled_layers(path: Path, manifest: Manifest) -> tuple[dict[str, int], str]:
    """Precision -> multiplying layers of an ONNX file or ``.xml`` as the engine would run it; the commonest.

    Compiled for this CPU at the manifest's first input size, floats in the fastest precision of the chip.
    """
    core = openvino_core()
    model = core.read_model(str(path))
    width, height = manifest.sizes_wh[0]
    shapes = {manifest.input_name: [1, 3, height, width]}
    shapes.update({t.input: list(t.shape_for((width, height))) for t in manifest.state})
    model.reshape(shapes)
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    found = Counter(layer.precision for layer in layers_of(compiled) if layer.computes)
    return dict(found), found.most_common(1)[0][0] if found else "fp32"


def layers_of(compiled: ov.CompiledModel) -> list[Layer]:
    """Every layer that ``compiled`` runs, in order, with the precision the runtime gives for it."""
    layers = []
    for operation in compiled.get_runtime_model().get_ordered_ops():
        about = {key: value.astype(str) for key, value in dict(operation.get_rt_info()).items()}
        kind = about.get("layerType", operation.get_type_name())
        if kind in ("Input", "Output", "Const", "Constant", "Parameter", "Result"):
            continue
        said = about.get("runtimePrecision", "").lower()
        # a layer that others were fused into bears their names as well, and the last one's itself
        name = about.get("originalLayersNames", "").split(",")[0] or operation.get_friendly_name()
        layers.append(Layer(name, kind, _NAMES.get(said, said), about.get("primitiveType", "")))
    return layers


def stored_types(model: ov.Model) -> dict[str, int]:
    """Type of the constants of ``model`` -> how many numbers they are, scalars and shapes aside."""
    stored: Counter[str] = Counter()
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Constant":
            output = operation.output(0)
            count = int(np.prod(list(output.shape), dtype=np.int64))
            name = output.element_type.get_type_name()
            if count > 1 and name in _NAMES:
                stored[_NAMES[name]] += count
    return dict(stored)


def _compared(
    openvino: Any, source: Path, result: Path, samples: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    samples = list(samples)
    if not samples:
        return {}
    core = openvino_core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    before, after = (core.compile_model(str(path), "CPU", hint) for path in (source, result))
    largest, total, count = 0.0, 0.0, 0
    for sample in samples:
        expected, got = before(dict(sample)), after(dict(sample))
        for port, other in zip(before.outputs, after.outputs, strict=True):
            difference = np.abs(expected[port].astype(np.float64) - got[other])
            largest = max(largest, float(difference.max(initial=0)))
            total, count = total + float(difference.sum()), count + difference.size
    return {"max_abs": largest, "mean_abs": total / max(count, 1)}


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise DeviceUnavailable(f"openvino is not installed: pip install openvino ({error})") from None
    return openvino


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
