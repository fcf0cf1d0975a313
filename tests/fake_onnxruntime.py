"""onnxruntime with a CUDA provider, over the fake GPU: real sessions that run on its streams."""

import numpy as np
import onnxruntime


class Fail(Exception):
    """As onnxruntime's own: of no shared base."""


class FakeRuntime:
    """The module: built with ``providers``, of which the CUDA one ``loads`` or does not, and has ``kernels``
    for the model or has not. With ``cuda_path``, as with the variable, a provider that does not load is an
    error; else only a warning."""

    __version__ = "1.22.0"

    def __init__(
        self,
        device,
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
        loads=True,
        kernels=True,
        cuda_path=False,
    ):
        self.device, self.providers, self.loads, self.kernels = device, providers, loads, kernels
        self.cuda_path = cuda_path
        self.settings, self.entries = {}, {}

    def get_available_providers(self):
        return list(self.providers)

    def SessionOptions(self):
        self.entries.clear()
        return FakeOptions(self.entries)

    def RunOptions(self):
        return FakeOptions(self.entries)

    def InferenceSession(self, path, options, providers, enable_fallback=1):
        ((name, settings),) = providers
        assert name == "CUDAExecutionProvider"
        assert not enable_fallback, "it would print, and raise another error than the first"
        self.settings = settings
        if not self.loads and self.cuda_path:
            raise RuntimeError(
                "onnxruntime_pybind_state.cc:574 CreateExecutionProviderInstance CUDA_PATH is set but CUDA "
                "wasn't able to be loaded. Please install the correct version of CUDA and cuDNN"
            )
        if not (self.loads and self.kernels) and options.has("session.disable_cpu_ep_fallback"):
            raise Fail(
                "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
                "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
            )
        return FakeSession(self, path)


class FakeRuntimeThatPreloads(FakeRuntime):
    """One that looks where pip puts CUDA's libraries, when asked; it prints what is ``missing``."""

    def __init__(self, device, missing=(), **options):
        super().__init__(device, loads=not missing, **options)
        self.missing, self.preloaded = missing, 0

    def preload_dlls(self):
        self.preloaded += 1
        for library in self.missing:
            print(f"Failed to load {library}: {library}: cannot open shared object file")


class FakeOptions:
    def __init__(self, entries):
        self._entries = entries

    def add_session_config_entry(self, key, value):
        self._entries[key] = value

    def has(self, key):
        return key in self._entries

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
        session = self._session  # of what is queued nothing holds the wrapper

        def run():
            feeds = {name: device.array(at, shape, np.float32) for name, (at, shape) in inputs.items()}
            for name, value in zip(names, session.run(names, feeds), strict=True):
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
