"""onnxruntime with a CUDA provider, over the fake GPU: real sessions that run on its streams."""

import numpy as np
import onnxruntime


class FakeRuntime:
    """The module: built with ``providers``, of which the CUDA one ``loads`` or does not."""

    __version__ = "1.22.0"

    def __init__(self, device, providers=("CUDAExecutionProvider", "CPUExecutionProvider"), loads=True):
        self.device, self.providers, self.loads = device, providers, loads
        self.settings, self.entries = {}, {}

    def get_available_providers(self):
        return list(self.providers)

    def SessionOptions(self):
        return FakeOptions(self.entries)

    def RunOptions(self):
        return FakeOptions(self.entries)

    def InferenceSession(self, path, options, providers):
        ((name, settings),) = providers
        assert name == "CUDAExecutionProvider"
        self.settings = settings
        return FakeSession(self, path)


class FakeOptions:
    def __init__(self, entries):
        self._entries = entries

    def add_session_config_entry(self, key, value):
        self._entries[key] = value

    add_run_config_entry = add_session_config_entry


class FakeSession:
    def __init__(self, runtime, path):
        self._runtime = runtime
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"][0 if self._runtime.loads else 1 :]

    def io_binding(self):
        return FakeBinding()

    def run_with_iobinding(self, binding, options):
        device, names = self._runtime.device, [value.name for value in self.get_outputs()]
        inputs, outputs = dict(binding.inputs), dict(binding.outputs)

        def run():
            feeds = {name: device.array(at, shape, np.float32) for name, (at, shape) in inputs.items()}
            for name, value in zip(names, self._session.run(names, feeds), strict=True):
                device.array(outputs[name][0], value.shape, value.dtype)[...] = value

        def ranges(tensors):
            return [(at, 4 * int(np.prod(shape))) for at, shape in tensors.values()]

        stream = int(self._runtime.settings["user_compute_stream"])
        device.enqueue(stream, "session", run, ranges(inputs), ranges(outputs))


class FakeBinding:
    def __init__(self):
        self.inputs, self.outputs = {}, {}

    def bind_input(self, name, kind, ordinal, dtype, shape, pointer):
        assert (kind, ordinal, dtype) == ("cuda", 0, np.float32)
        self.inputs[name] = (pointer, shape)

    def bind_output(self, name, kind, ordinal, dtype, shape, pointer):
        assert (kind, ordinal, dtype) == ("cuda", 0, np.float32)
        self.outputs[name] = (pointer, shape)
