"""From an ONNX file to a TensorRT engine, with any TensorRT from 8.6 on.

Precision is in the ONNX graph, never in a flag: where the library has strong typing the network is strongly
typed, and 8.6, which has not, is held to the graph's types layer by layer. What the engine really computes in
is then looked up, and an engine that is not what was asked for is not written.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..errors import BackendError, ModelError, UsageError
from ..passport import Passport
from .api import Api, errors, load
from .inspect import Precisions, engine_precisions, network_precisions, reads_bytes, type_name
from .profiles import Profile, check_profiles
from .progress import Phases, Progress, monitor
from .targets import Gpu, choose_targets, present_gpu
from .weak import float32_form

PRECISIONS = ("fp32", "fp16", "int8")
_FLOATS = {"fp32", "fp16", "bf16"}
# Layers of 8.6 that compute nothing, or whose type the library fixes itself: setting it is an error there.
_TYPED_BY_THE_LIBRARY = {"CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE", "ASSERTION"}


@dataclass(frozen=True)
class BuildReport:
    """What was built and what was found in it: all a passport needs."""

    engine: Path
    source: Path
    library: str
    library_version: str
    driver: str | None
    """None where it was built for a GPU that is not here: it is then bound to no driver."""
    compute_capability: str
    precision_asked: str
    precisions: Precisions
    shapes: dict[str, Any]
    build_seconds: float
    bytes: int
    extra: dict[str, Any] = field(default_factory=dict)

    def passport(self, *, command: str = "", parity: Mapping[str, float] | None = None) -> Passport:
        """The passport of the engine; both files must still be there."""
        found = self.precisions
        return Passport.issue(
            self.engine,
            self.source,
            target="tensorrt",
            library=self.library,
            library_version=self.library_version,
            driver=self.driver,
            compute_capability=self.compute_capability,
            precision_asked=self.precision_asked,
            precision_found=found.found,
            precision_evidence=found.evidence,
            shapes=self.shapes,
            parity=parity,
            layers=found.layers,
            kept_higher=found.kept_higher,
            build_seconds=self.build_seconds,
            command=command,
            extra=self.extra,
        )


def build_engine(
    onnx: Path,
    out: Path,
    *,
    precision: str = "fp16",
    profiles: Mapping[str, Profile] | None = None,
    compute_capability: str | None = None,
    workspace_bytes: int | None = None,
    timing_cache: Path | None = None,
    progress: Progress | None = None,
    api: Api | None = None,
) -> BuildReport:
    """Build ``out`` from ``onnx``; an engine already there is replaced only once the new one is complete.

    Parameters
    ----------
    onnx : Path
        With the precision in its graph: fp16 tensors for ``fp16``, QuantizeLinear and DequantizeLinear for
        ``int8``.
    out : Path
        The engine, ``.plan`` by custom. Its passport is the caller's to write, see ``BuildReport.passport``.
    precision : str
        ``fp32``, ``fp16`` or ``int8``: what most convolutions and matrix products must be found to be.
    profiles : mapping of str to (min, opt, max), optional
        Shapes of each input that has free sizes. Inputs without free sizes need none.
    compute_capability : str, optional
        Such as ``8.6`` or ``sm_86``, several with commas between where TensorRT-RTX builds; by default that
        of the GPU that is here.
    workspace_bytes : int, optional
        Most memory a layer may use while it runs; by default the library's own limit.
    timing_cache : Path, optional
        Timings of kernels, read and written: the next build is faster, and chooses the same kernels.
    progress : callable, optional
        ``progress(step, share)``. What it raises stops the build and is raised here.
    api : Api, optional
        The library to build with; by default the first that is here.

    Raises
    ------
    UsageError
        If an option makes no sense, or a free input has no profile.
    ModelError
        If the file is no ONNX that the library can read, or has another precision than was asked for.
    DeviceUnavailable
        If there is no TensorRT, or it does not build for that GPU.
    BackendError
        If the builder fails.
    OSError
        If ``out`` cannot be written.
    """
    onnx, out = Path(onnx), Path(out)
    if precision not in PRECISIONS:
        raise UsageError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if workspace_bytes is not None and workspace_bytes < 1:
        raise UsageError(f"workspace: expected at least 1 byte, got {workspace_bytes}")
    say = progress or (lambda step, share: None)
    api = api or load()
    gpu = present_gpu()
    targets = choose_targets(api, compute_capability, gpu)
    start = time.perf_counter()
    say("parse", 0.0)
    builder = api.builder()
    network, parser, half = _parse(api, builder, onnx)
    declared = network_precisions(network, half)
    _check_precision(onnx, precision, declared)
    shapes = check_profiles(network, profiles)

    config = builder.create_builder_config()
    notes = _configure(api, config, network, precision, declared, workspace_bytes, half)
    if any(isinstance(shape, dict) for shape in shapes.values()):
        _add_profile(builder, config, profiles or {}, network)
    if api.is_rtx:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(api.target(target), index)
    cache = _attach_timing_cache(api, config, timing_cache)
    plan = _run_builder(api, builder, network, config, say)
    del parser  # the network's weights are the parser's own memory
    seconds = time.perf_counter() - start

    data = bytes(plan)
    found = _found(api, data, declared, gpu, targets)
    if found.found != precision:
        raise ModelError(
            f"{onnx.name}: asked for {precision}, the {found.evidence} says {found.found} "
            f"({_counts(found)}); nothing was written"
        )
    with replacing(out) as fresh:
        fresh.write_bytes(data)
    if cache is not None and timing_cache is not None:
        with replacing(timing_cache) as fresh:
            fresh.write_bytes(bytes(config.get_timing_cache().serialize()))
    notes.update(layers_by_kind=found.kinds, tensors=declared.tensors, io=_io(network))
    return BuildReport(
        out,
        onnx,
        api.library,
        api.version,
        gpu.driver if gpu and gpu.compute_capability in targets else None,
        ",".join(targets),
        precision,
        found,
        shapes,
        seconds,
        len(data),
        notes,
    )


def _parse(api: Api, builder: Any, onnx: Path) -> tuple[Any, Any, frozenset[str]]:
    """The network, the parser that owns its weights, and the layers that are half though typed float32."""
    if not onnx.is_file():
        raise ModelError(f"{onnx}: no such file")
    weak = None if api.is_strongly_typed else float32_form(onnx)
    network = builder.create_network(api.network_flags())
    parser = api.trt.OnnxParser(network, api.logger)
    mark = errors.mark()
    if weak is None:
        parsed = parser.parse_from_file(str(onnx))
    else:
        with tempfile.TemporaryDirectory(prefix="livecut-") as folder:
            given = Path(folder) / onnx.name
            given.write_bytes(weak[0])
            parsed = parser.parse_from_file(str(given))
    if not parsed:
        raise ModelError(f"{onnx.name}: {api} cannot read it: {_parser_error(parser, mark)}")
    if network.num_layers == 0 or network.num_outputs == 0:
        raise ModelError(f"{onnx.name}: has no layers or no outputs")
    return network, parser, weak[1] if weak is not None else frozenset()


def _parser_error(parser: Any, mark: int) -> str:
    if parser.num_errors == 0:
        return errors.since(mark)
    error = parser.get_error(0)
    text = " ".join(str(error.desc()).split())
    # 8.6 knows the node by its number only.
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    where = f"node {name or error.node()}" if error.node() >= 0 else ""
    return f"{where}{f' ({operator})' if operator else ''}: {text}" if where else text


def _check_precision(onnx: Path, asked: str, declared: Precisions) -> None:
    if declared.found == asked:
        return
    ways = {
        "fp16": "make an fp16 graph first: livecut export --to fp16",
        "int8": "quantise it first: livecut export --to int8",
        "fp32": f"ask for {declared.found}, or give the fp32 model",
    }
    raise ModelError(
        f"{onnx.name}: asked for {asked}, and its graph is {declared.found} ({_counts(declared)}); "
        f"TensorRT takes the precision from the graph: {ways[asked]}"
    )


def _counts(found: Precisions) -> str:
    return (
        ", ".join(f"{count} layers {name}" for name, count in found.layers.items())
        or "no layer that computes"
    )


def _configure(
    api: Api,
    config: Any,
    network: Any,
    precision: str,
    declared: Precisions,
    workspace_bytes: int | None,
    half: frozenset[str],
) -> dict[str, Any]:
    """Set what every build sets; return what the passport should tell of it."""
    trt = api.trt
    # Without this the inspector knows names of layers only, and an engine's precision would stay unproved.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if flag := getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None):
        config.set_flag(flag)  # TensorRT-RTX: memory taken while it runs is no part of a captured graph
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not fp32
    if not api.is_strongly_typed:
        _hold_to_the_graph(api, config, network, declared, half)
        api.share_profiles(config)
    return {
        "strongly_typed": api.is_strongly_typed,
        "workspace_bytes": workspace_bytes,
        "tf32": precision != "fp32",
    }


def _hold_to_the_graph(
    api: Api, config: Any, network: Any, declared: Precisions, half: frozenset[str]
) -> None:
    """Make a weakly typed builder (8.6) keep the graph's types: the flags allow, the constraints bind."""
    flags = api.trt.BuilderFlag
    if declared.layers.keys() & {"fp16"}:
        config.set_flag(flags.FP16)
    if declared.layers.keys() & {"int8"}:
        config.set_flag(flags.INT8)  # the scales are in the graph: no calibrator
        # Explicit quantisation is obeyed as it is; only what would overflow as half is held to float32.
        if half:
            _hold_to_single(config, flags, network, half)
        return
    config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name in _TYPED_BY_THE_LIBRARY or layer.num_outputs == 0:
            continue
        dtype = layer.get_output(0).dtype
        if type_name(dtype) not in _FLOATS:
            continue
        layer.precision = dtype
        for output in range(layer.num_outputs):
            layer.set_output_type(output, layer.get_output(output).dtype)


def _hold_to_single(config: Any, flags: Any, network: Any, half: frozenset[str]) -> None:
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name in half or layer.type.name in _TYPED_BY_THE_LIBRARY or layer.num_outputs == 0:
            continue
        dtype = layer.get_output(0).dtype
        if type_name(dtype) != "fp32":
            continue
        config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
        if not reads_bytes(network, layer):
            layer.precision = dtype
        for output in range(layer.num_outputs):
            layer.set_output_type(output, layer.get_output(output).dtype)


def _add_profile(builder: Any, config: Any, profiles: Mapping[str, Profile], network: Any) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        if name in profiles:
            profile.set_shape(name, *(tuple(shape) for shape in profiles[name]))
    if config.add_optimization_profile(profile) < 0:
        raise UsageError(f"profiles: TensorRT does not accept {dict(profiles)}")


def _attach_timing_cache(api: Api, config: Any, path: Path | None) -> Any:
    if path is None or not api.has_timing_cache:
        return None
    try:
        kept = Path(path).read_bytes()
    except OSError:
        kept = b""
    cache = config.create_timing_cache(kept)
    # Of another GPU or version, or damaged: begin an empty one, which costs time and nothing else.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _run_builder(api: Api, builder: Any, network: Any, config: Any, say: Progress) -> Any:
    phases = Phases(lambda phase, share: say(f"build: {phase}", share))
    if api.has_progress_monitor:
        watcher = monitor(api.trt, phases)
        config.progress_monitor = watcher
    else:
        say("build", 0.0)  # 8.6 says nothing until it is done
    mark = errors.mark()
    plan = builder.build_serialized_network(network, config)
    if phases.failure is not None:
        raise phases.failure
    if plan is None or plan.nbytes == 0:
        raise BackendError(f"{api} failed to build the engine: {errors.since(mark)}")
    say("build", 1.0)
    return plan


def _found(
    api: Api, plan: bytes, declared: Precisions, gpu: Gpu | None, targets: tuple[str, ...]
) -> Precisions:
    """What the finished engine says of itself where it can be loaded here, else what its network declared."""
    if gpu is None or gpu.compute_capability not in targets:
        return declared
    engine, runtime = api.deserialise(plan)
    found = engine_precisions(api, engine)
    del engine, runtime
    # An inspector that names no types (all shapes dynamic, say) is no evidence.
    return found if found.layers else declared


def _io(network: Any) -> dict[str, str]:
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    tensors += [network.get_output(i) for i in range(network.num_outputs)]
    return {tensor.name: type_name(tensor.dtype) for tensor in tensors}
