"""What TensorRT logs when it cannot load or run an engine: who is at fault, and whether building helps."""

import logging
from functools import partial

import pytest
import versions_of_tensorrt
from engines import ORIN, SIZE_WH, Builder, put, warnings_in
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi, FakeEngine
from fakes import RedBackend

from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.errors import (
    BackendError,
    DeviceBusy,
    DeviceLost,
    DeviceUnavailable,
    DriverTooOld,
    OutOfDeviceMemory,
    WrongDevice,
)
from livecut.engine.tensorrt.api import Api, errors
from livecut.engine.tensorrt.failures import explained

ALLOCATOR = "1: [defaultAllocator.cpp::nvinfer1::internal::DefaultAllocator::allocate::19] "
NO_MEMORY = ALLOCATOR + "Error Code 1: Cuda Runtime (out of memory)"
NO_MEMORY_EITHER = (
    "2: [executionContext.cpp::nvinfer1::rt::ExecutionContext::ExecutionContext::470] "
    "Error Code 2: OutOfMemory (no further information)"
)
INITIALISATION = "CUDA initialization failure with error: {}. Please check your CUDA installation"
NOT_THE_ENGINES = [
    (NO_MEMORY, OutOfDeviceMemory),
    (NO_MEMORY_EITHER, OutOfDeviceMemory),
    (INITIALISATION.format(2), OutOfDeviceMemory),
    ("Error Code 1: Cuda Runtime (unspecified launch failure)", DeviceLost),
    ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", DeviceLost),
    ("Error Code 1: Cuda Runtime (CUDA-capable device(s) is/are busy or unavailable)", DeviceBusy),
    (
        "Error Code 1: Cuda Runtime (CUDA driver version is insufficient for CUDA runtime version)",
        DriverTooOld,
    ),
    (INITIALISATION.format(35), DriverTooOld),
]
THE_ENGINES = [
    ("Error Code 1: Serialization (Serialization assertion magicTagRead == kPLAN_MAGIC_TAG failed.)", None),
    (
        "IRuntime::deserializeCudaEngine: Error Code 1: Internal Error (Unexpected call to stub loadRunner)",
        None,
    ),
    (
        "6: The engine plan file is generated on an incompatible device, expecting compute 8.9 got compute "
        "8.7, please rebuild.",
        WrongDevice,
    ),
]


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "livecut")
    return caplog


@pytest.fixture
def opened(wanted, cache):
    """Opens a backend over an engine of which TensorRT 10.3 logs ``said`` instead of loading it."""
    put(wanted, cache.folder)
    made = []

    def make(said, **options):
        trt = versions_of_tensorrt.make("10.3")
        trt.fake.load_problem = said
        backend = SwappingBackend(
            cache=cache,
            build=Builder(error=BackendError("a build for nothing")),
            open_engine=partial(open_tensorrt, api=Api(trt), open_device=FakeDevice),
            open_meanwhile=RedBackend,
            place=lambda: ORIN,
            **options,
        )
        made.append(backend)
        backend.open(wanted.manifest, SIZE_WH, precision="auto", threads=1)
        backend.wait_until_built()
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.mark.parametrize(("said", "kind"), NOT_THE_ENGINES)
def test_an_engine_that_the_gpu_cannot_take_now_is_neither_refused_nor_built_again(opened, said, kind, log):
    backend = opened(said)
    assert backend.info.name == "red"
    assert backend._build.calls == []
    (warning,) = warnings_in(log)
    assert "cannot be opened: " in warning
    assert said in warning or "out of memory" in warning or "insufficient" in warning
    with pytest.raises(kind) as caught:
        opened(said, require_gpu=True)
    assert "\n" not in str(caught.value)
    assert "TensorRT 10.3.0 cannot load the engine" in str(caught.value)


@pytest.mark.parametrize(("said", "kind"), THE_ENGINES)
def test_an_engine_that_is_wrong_is_built_again(opened, said, kind, log):
    backend = opened(said)
    assert len(backend._build.calls) == 1
    assert (
        f"does not load: {'the engine was built for another GPU' if kind else 'TensorRT'}"
        in (warnings_in(log)[0])
    )


def test_where_there_is_no_gpu_no_other_engine_would_run_either(opened):
    with pytest.raises(DeviceUnavailable, match="there is no NVIDIA GPU to use here"):
        opened(INITIALISATION.format(100))


@pytest.mark.parametrize("raises", [None, RuntimeError("std::bad_alloc"), TypeError("a null pointer")])
def test_too_little_memory_for_an_execution_context_is_told_as_such(wanted, cache, monkeypatch, raises):
    def fail(engine):
        errors.add(NO_MEMORY_EITHER)
        if raises is not None:
            raise raises

    monkeypatch.setattr(FakeEngine, "create_execution_context", fail)
    path = put(wanted, cache.folder, plan=wanted.source.read_bytes())
    found, device = cache.find(wanted), FakeDevice()
    with pytest.raises(OutOfDeviceMemory, match=r"TensorRT makes no execution context: .*out of memory"):
        open_tensorrt(path, found.passport, wanted, 1, api=FakeApi(device), open_device=lambda: device)
    assert device.closed == 1


def test_what_is_not_known_stays_in_tensorrts_words():
    error = explained("TensorRT cannot run the engine: it gave no reason", "8.7")
    assert (type(error), str(error)) == (BackendError, "TensorRT cannot run the engine: it gave no reason")
