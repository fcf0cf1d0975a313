"""TensorRT as far as running an engine needs it, over the fake GPU: an engine is an ONNX file."""

import json
from enum import Enum

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

TensorIOMode = Enum("TensorIOMode", "INPUT OUTPUT")
DataType = Enum("DataType", "FLOAT HALF INT32")
Strategy = Enum("DynamicShapesKernelSpecializationStrategy", "LAZY EAGER NONE")
COMPILED_IN = b"compiled here: "
"""How a runtime cache begins that fits this machine."""


class FakeTrt:
    """The module."""

    TensorIOMode = TensorIOMode


class FakeRtx(FakeTrt):
    """TensorRT-RTX: kernels for shapes are compiled where they are met, by default behind the first runs."""

    DynamicShapesKernelSpecializationStrategy = Strategy


class FakeApi:
    """Stands for ``engine.tensorrt.Api`` on ``device``; with ``fail`` the engine refuses to run.

    Engines whose first axis is free take 1 to ``most`` pictures. With ``rtx`` it is TensorRT-RTX, which says
    whether a stream is ``capturable``; ``compiled`` are the shapes that it compiled kernels for.
    """

    library, version = "tensorrt", "10.3"

    def __init__(self, device, fail=False, most=4, rtx=False, capturable=True):
        self.device, self.fail, self.most, self.capturable = device, fail, most, capturable
        self.trt = FakeRtx if rtx else FakeTrt
        self.contexts, self.compiled = 0, []

    def __str__(self):
        return f"TensorRT {self.version}"

    def deserialise(self, plan):
        kind = FakeRtxEngine if self.trt is FakeRtx else FakeEngine
        return kind(self, onnx.load_from_string(plan)), object()


class FakeEngine:
    def __init__(self, api, model):
        self.api, self.evaluator = api, ReferenceEvaluator(model)
        self.inputs = {value.name: value for value in model.graph.input}
        self.outputs = {value.name: value for value in model.graph.output}
        self.names = [*self.inputs, *self.outputs]

    @property
    def num_io_tensors(self):
        return len(self.names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        kind = (self.inputs | self.outputs)[name].type.tensor_type.elem_type
        return DataType.FLOAT if kind == onnx.TensorProto.FLOAT else DataType.HALF

    def get_tensor_shape(self, name):
        dims = (self.inputs | self.outputs)[name].type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)

    def get_tensor_profile_shape(self, name, index):
        """Of an engine built for 1 to ``api.most`` pictures at once; other free sizes stay so."""
        assert index == 0
        least, most = ((n, *self.get_tensor_shape(name)[1:]) for n in (1, self.api.most))
        return [least, most, most]

    def create_execution_context(self):
        self.api.contexts += 1
        return FakeContext(self)


class FakeRtxEngine(FakeEngine):
    def create_runtime_config(self):
        return FakeRuntimeConfig()

    def create_execution_context(self, config=None):
        self.api.contexts += 1
        return FakeRtxContext(self, config or FakeRuntimeConfig())


class FakeRuntimeConfig:
    def __init__(self):
        self.dynamic_shapes_kernel_specialization_strategy, self.cache = Strategy.LAZY, FakeRuntimeCache()

    def create_runtime_cache(self):
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class FakeRuntimeCache:
    def __init__(self):
        self.kernels = set()

    def serialize(self):
        return COMPILED_IN + json.dumps(sorted(self.kernels)).encode()

    def deserialize(self, blob):
        assert isinstance(blob, bytes)
        if not blob.startswith(COMPILED_IN):
            return False
        self.kernels |= set(json.loads(blob.removeprefix(COMPILED_IN)))
        return True


class FakeContext:
    label = "engine"

    def __init__(self, engine):
        self.engine, self.addresses, self.shapes, self.sizes = engine, {}, {}, None
        self.is_captured = False

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, pointer):
        if self.is_captured:
            self.engine.api.device.order.hazard(
                "a context was changed after a graph had been captured from it"
            )
        self.addresses[name] = pointer
        return name in self.engine.names

    def execute_async_v3(self, handle):
        engine, device = self.engine, self.engine.api.device
        if engine.api.fail:
            return False
        assert set(self.addresses) == set(engine.names), "a tensor has no address"
        addresses = dict(self.addresses)
        shapes = {name: self.shapes.get(name) or engine.get_tensor_shape(name) for name in engine.inputs}
        if self.sizes is None:
            blank = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
            results = zip(engine.outputs, engine.evaluator.run(None, blank), strict=True)
            self.sizes = {name: value.nbytes for name, value in results}

        def run():
            feeds = {name: device.array(addresses[name], shape, np.float32) for name, shape in shapes.items()}
            for name, value in zip(engine.outputs, engine.evaluator.run(None, feeds), strict=True):
                device.array(addresses[name], value.shape, value.dtype)[...] = value

        self.is_captured |= device.is_capturing(handle)
        device.enqueue(
            handle,
            self.label,
            run,
            [(addresses[name], 4 * int(np.prod(shape))) for name, shape in shapes.items()],
            [(addresses[name], nbytes) for name, nbytes in self.sizes.items()],
        )
        return True


class FakeRtxContext(FakeContext):
    """Runs of an engine with free sizes are ``slow`` until its kernels have been compiled."""

    def __init__(self, engine, config):
        super().__init__(engine)
        self.config, self.ran = config, False

    def execute_async_v3(self, handle):
        self._compile(str(sorted(self.shapes.items())))
        self.ran = True
        return super().execute_async_v3(handle)

    def _compile(self, shapes):
        self.label = "engine"
        if not self.shapes or shapes in self.config.cache.kernels:
            return
        if self.config.dynamic_shapes_kernel_specialization_strategy is Strategy.EAGER:
            self.engine.api.compiled.append(shapes)
            self.config.cache.kernels.add(shapes)
        else:
            self.label = "engine, slow"

    def is_stream_capturable(self, handle):
        assert self.ran, "known once it has run"
        assert handle in self.engine.api.device._handles
        return self.engine.api.capturable
