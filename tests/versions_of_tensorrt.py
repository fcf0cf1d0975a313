"""TensorRT 8.6, 10, 11 and RTX without TensorRT: modules that have exactly the names of each release.

``make("8.6")`` gives a module whose classes and enums have the public names that the Python bindings of that
release have (``engine/tensorrt_surfaces.json``, read from the published bindings), and refuse all others on
getting and on setting, as pybind does. Behind the names is just enough behaviour to tell a right use of a
version from a wrong one: it reads ONNX files with the package onnx, and "builds" a plan that is JSON.
"""

import enum
import itertools
import json
import types
from pathlib import Path

from versions_of_tensorrt_graph import Error, Layer, Network, Parser, Restricted, Tensor

SURFACES = json.loads(Path(__file__).with_name("engine").joinpath("tensorrt_surfaces.json").read_text())
VERSIONS = {"8.6": "8.6.0", "10.3": "10.3.0", "10.16": "10.16.1.11", "11.4": "11.4.0.106", "rtx": "1.7.1.116"}


def surface(version, name):
    """Public names of a class in a version; None where it has no such class."""
    entry = SURFACES["classes"][name]
    if version in entry["absent"]:
        return None
    lists = (names.split() for key, names in entry["names"].items() if key == "*" or version in key.split())
    return {"name", "shape", *itertools.chain.from_iterable(lists)}


class TimingCache(Restricted):
    def __init__(self, blob):
        self._blob = blob

    def serialize(self):
        return self._blob or b"timings"


class Profile(Restricted):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, low, usual, high):
        self._shapes[name] = (low, usual, high)


class Config(Restricted):
    def __init__(self):
        self._flags, self._profiles, self._targets = {"TF32"}, [], []
        self._cache = self._limit = self._monitor = None
        self._verbosity = "LAYER_NAMES_ONLY"

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, size):
        self._limit = (pool.name, size)

    def add_optimization_profile(self, profile):
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, blob):
        return self._trt.ITimingCache(blob)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._blob not in (b"", b"timings"):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    @property
    def profiling_verbosity(self):
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value):
        self._verbosity = value.name

    @property
    def progress_monitor(self):
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value):
        self._monitor = value

    @property
    def num_compute_capabilities(self):
        return len(self._targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count):
        self._targets = ["CURRENT"] * count

    def set_compute_capability(self, target, index):
        self._targets[index] = target.name
        return True


class Memory(Restricted):
    def __init__(self, data):
        self._data = data

    nbytes = property(lambda self: len(self._data))

    def __bytes__(self):
        return self._data


class Builder(Restricted):
    def __init__(self, logger):
        if not self._trt.fake.has_gpu and not hasattr(self._trt, "ComputeCapability"):
            logger.log(self._trt.ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags=0):
        return self._trt.INetworkDefinition(self._trt, flags)

    def create_builder_config(self):
        self._trt.fake.config = self._trt.IBuilderConfig()
        return self._trt.fake.config

    def create_optimization_profile(self):
        return self._trt.IOptimizationProfile()

    def build_serialized_network(self, network, config):
        problem = self._problem(network, config)
        if problem:
            self._logger.log(self._trt.ILogger.Severity.ERROR, problem)
            return None
        if config._monitor is not None:
            config._monitor.phase_start("Building engine", None, 2)
            config._monitor.phase_start("Timing", "Building engine", 4)
            for step in range(4):
                if not config._monitor.step_complete("Timing", step):
                    self._trt.fake.cancelled = True
                    return None
            config._monitor.phase_finish("Timing")
            for step in range(2):
                config._monitor.step_complete("Building engine", step)
            config._monitor.phase_finish("Building engine")
        layers = [
            (
                layer.name,
                layer.type.name,
                self._computes(network, config, layer),
                [t.name for t in layer._outputs],
            )
            for layer in network._layers
        ]
        plan = {"version": self._trt.__version__, "layers": layers, "verbosity": config._verbosity}
        return self._trt.IHostMemory(json.dumps(plan).encode())

    def _problem(self, network, config):
        halves = any(o.dtype.name == "HALF" for layer in network._layers for o in layer._outputs)
        if network._strong and config._flags & {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"}:
            return "precision flags are not allowed in a strongly typed network"
        if not network._strong and halves and "FP16" not in config._flags:
            return "fp16 tensors, and FP16 is not configured in the builder"
        if any(-1 in tensor.shape for tensor in network._in) and not config._profiles:
            return "network has dynamic inputs, but no optimization profile"
        if hasattr(self._trt, "ComputeCapability") and "CURRENT" in (config._targets or ["CURRENT"]):
            return "CUDA driver version is insufficient"
        return self._trt.fake.build_problem

    def _computes(self, network, config, layer):
        dtype = layer.get_output(0).dtype.name
        obeyed = "OBEY_PRECISION_CONSTRAINTS" in config._flags and layer._constraint is not None
        if network._strong or obeyed or "INT8" in config._flags:
            return dtype
        return "FLOAT" if dtype == "HALF" else dtype  # a weakly typed builder may do as it likes


class Runtime(Restricted):
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        if self._trt.fake.load_problem:
            self._logger.log(self._trt.ILogger.Severity.ERROR, self._trt.fake.load_problem)
            return None
        try:
            data = json.loads(plan)
        except ValueError:
            data = {}
        if not self._trt.fake.has_gpu or data.get("version") != self._trt.__version__:
            self._logger.log(self._trt.ILogger.Severity.ERROR, "the engine plan file is not compatible")
            return None
        return self._trt.ICudaEngine(data)


class Engine(Restricted):
    def __init__(self, data):
        self._data = data

    def create_engine_inspector(self):
        return self._trt.EngineInspector(self._data)

    def create_runtime_config(self):
        return self._trt.IRuntimeConfig()

    def create_execution_context(self, *config):
        self._trt.fake.contexts.append(config)
        return self._trt.IExecutionContext()


class Context(Restricted):
    pass


class RuntimeConfig(Restricted):
    def __init__(self):
        self._strategy, self._cache = "LAZY", None

    @property
    def dynamic_shapes_kernel_specialization_strategy(self):
        return self._strategy

    @dynamic_shapes_kernel_specialization_strategy.setter
    def dynamic_shapes_kernel_specialization_strategy(self, value):
        self._strategy = value.name

    def create_runtime_cache(self):
        return self._trt.IRuntimeCache()

    def set_runtime_cache(self, cache):
        self._cache = cache
        return True


class RuntimeCache(Restricted):
    def __init__(self):
        self._blob = b"kernels"

    def serialize(self):
        return self._trt.IHostMemory(self._blob)

    def deserialize(self, blob):
        fits = blob.startswith(b"kernels")
        self._blob = blob if fits else self._blob
        return fits


class Inspector(Restricted):
    def __init__(self, data):
        self._data = data

    def get_engine_information(self, format):
        if self._trt.fake.inspector_text is not None:
            return self._trt.fake.inspector_text
        if self._data["verbosity"] != "DETAILED":
            return json.dumps({"Layers": [layer[0] for layer in self._data["layers"]], "Bindings": []})
        words = {"FLOAT": "FP32", "HALF": "FP16", "INT8": "Int8"}
        layers = []
        for name, kind, dtype, outputs in self._data["layers"]:
            if "EXPLICIT_BATCH" in self._trt.NetworkDefinitionCreationFlag.__members__:
                said = {"Format/Datatype": f"Row major linear {words.get(dtype, dtype)} format"}
            else:
                said = {"Format": "kLINEAR", "DataType": {"FLOAT": "Float", "HALF": "Half"}.get(dtype, dtype)}
            tensors = [
                {"Name": output, "Location": "Device", "Dimensions": [1], **said} for output in outputs
            ]
            kind = "CaskConvolution" if kind == "CONVOLUTION" else kind
            layers.append({"Name": name, "LayerType": kind, "Inputs": tensors, "Outputs": tensors})
        return json.dumps({"Layers": layers})


class Monitor(Restricted):
    """``IProgressMonitor``; its subclasses are users' own, with names of their own."""

    def __getattribute__(self, key):
        return object.__getattribute__(self, key)

    def __setattr__(self, key, value):
        object.__setattr__(self, key, value)


class Logger(Monitor):
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


CLASSES = {
    "Builder": Builder, "IBuilderConfig": Config, "INetworkDefinition": Network, "Runtime": Runtime,
    "ICudaEngine": Engine, "EngineInspector": Inspector, "OnnxParser": Parser, "IProgressMonitor": Monitor,
    "ILogger": Logger, "ITimingCache": TimingCache, "ILayer": Layer, "ITensor": Tensor,
    "IOptimizationProfile": Profile, "ParserError": Error, "IHostMemory": Memory,
    "IExecutionContext": Context, "IRuntimeConfig": RuntimeConfig, "IRuntimeCache": RuntimeCache,
}  # fmt: skip
ENUMS = (
    *("BuilderFlag", "NetworkDefinitionCreationFlag", "ComputeCapability", "DataType", "LayerType"),
    *("LayerInformationFormat", "ProfilingVerbosity", "MemoryPoolType", "EngineValidity"),
    "DynamicShapesKernelSpecializationStrategy",
)


def make(version, *, has_gpu=True):
    """The module ``tensorrt`` (or ``tensorrt_rtx``) of a version.

    Its ``fake`` holds what a test changes or reads: ``has_gpu``, ``build_problem``, ``load_problem``,
    ``inspector_text``, ``config``, the last builder configuration made, ``contexts``, what each execution
    context was made with, and ``cancelled``, whether a monitor stopped a build.
    """
    trt = types.ModuleType("tensorrt_rtx" if version == "rtx" else "tensorrt")
    trt.__version__ = VERSIONS[version]
    trt.fake = types.SimpleNamespace(has_gpu=has_gpu, build_problem=None, inspector_text=None, config=None)
    trt.fake.cancelled, trt.fake.load_problem, trt.fake.contexts = False, None, []
    for name, behaviour in CLASSES.items():
        names = surface(version, name)
        if names is not None:
            setattr(trt, name, type(name, (behaviour,), {"names": frozenset(names), "_trt": trt}))
    for name in ENUMS:
        names = surface(version, name)
        if names is not None:
            members = sorted(names - {"name", "shape"})
            setattr(trt, name, enum.IntEnum(name, {member: index for index, member in enumerate(members)}))
    return trt
