"""The real device code, against a driver in host memory (software_cuda.c), where there is no GPU."""

import ctypes.util
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

from livecut.engine.cuda import pycuda_device
from livecut.engine.cuda.failures import from_exception, from_message
from livecut.engine.cuda.libcuda import LibCuda
from livecut.engine.cuda.packing import pack
from livecut.engine.cuda.probe import GpuInfo, describe
from livecut.engine.errors import (
    BackendError,
    DeviceBusy,
    DeviceLost,
    DeviceUnavailable,
    DriverTooOld,
    OutOfDeviceMemory,
    WrongDevice,
)

SOURCE = Path(__file__).resolve().parent.parent / "software_cuda.c"
PYCUDA = importlib.util.find_spec("pycuda")


def pycuda_symbols():
    """What pycuda's extension asks of the driver, so that it loads: all that is not written there fails."""
    if PYCUDA is None:
        return set()
    (extension,) = Path(PYCUDA.submodule_search_locations[0]).glob("_driver*.so")
    return {name.decode() for name in re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", extension.read_bytes())}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The path of the software driver, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    missing = pycuda_symbols() - set(re.findall(r"\b(cu[A-Z]\w+)\(", SOURCE.read_text(encoding="utf-8")))
    rest = folder / "rest.c"
    rest.write_text("\n".join(f"int {name}(void) {{ return 801; }}" for name in sorted(missing)) + "\n")
    path = folder / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, str(SOURCE), str(rest), "-o", str(path)], check=True)
    return path


def test_the_driver_is_asked_what_gpu_is_here(driver):
    info = describe(LibCuda(str(driver)), 0)
    assert (info.name, info.compute_capability, info.driver) == ("Software GPU", "8.6", "13.0")
    assert not info.integrated
    assert "Software GPU, SM 8.6, 1.0 GiB, driver for CUDA 13.0" in str(info)
    assert LibCuda(str(driver)).pci_bus_id(0) == "0000:65:00.0"


def test_a_gpu_that_is_not_there_is_refused_with_how_many_there_are(driver):
    with pytest.raises(DeviceUnavailable, match="no NVIDIA GPU 3 here: the driver shows 1"):
        describe(LibCuda(str(driver)), 3)


def test_no_driver_at_all_is_said_in_plain_words():
    with pytest.raises(DeviceUnavailable, match=r"no NVIDIA driver here \(libnothing\.so is not found\)"):
        LibCuda("libnothing.so")


def test_a_library_that_is_no_driver_is_too_old_a_driver():
    with pytest.raises(DriverTooOld, match="cuInit: undefined symbol"):
        LibCuda(ctypes.util.find_library("m") or "libm.so.6")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("cuMemAlloc failed: out of memory", OutOfDeviceMemory),
        ("BFCArena: Failed to allocate memory for requested buffer of size 4096", OutOfDeviceMemory),
        ("CUDNN failure 3: CUDNN_STATUS_ALLOC_FAILED", OutOfDeviceMemory),
        ("cuEventSynchronize failed: an illegal memory access was encountered", DeviceLost),
        ("cuStreamSynchronize failed: unspecified launch failure", DeviceLost),
        ("cuCtxSynchronize failed: uncorrectable ECC error encountered", DeviceLost),
        ("the launch timed out and was terminated", DeviceLost),
        ("operation not supported on global/shared address space", DeviceLost),
        ("cuStreamSynchronize failed: invalid address space", DeviceLost),
        ("an async error has occured in external entity outside of CUDA", DeviceLost),
        ("Invalid access of peer GPU memory over nvlink or a hardware error", DeviceLost),
        ("tensor memory not completely freed", DeviceLost),
        ("all CUDA-capable devices are busy or unavailable", DeviceBusy),
        ("cuDevicePrimaryCtxRetain failed: CUDA-capable device(s) is/are busy or unavailable", DeviceBusy),
        ("exclusive-thread device already in use by a different thread", DeviceBusy),
        ("CUDA driver version is insufficient for CUDA runtime version", DriverTooOld),
        ("libcuda.so.1: undefined symbol: cuCtxCreate_v4", DriverTooOld),
        ("no kernel image is available for execution on the device", WrongDevice),
        ("cuInit failed: no CUDA-capable device is detected", DeviceUnavailable),
        ("something else", BackendError),
    ],
)
def test_failures_become_the_few_that_a_caller_can_act_on(words, kind):
    error = from_message(words)
    assert type(error) is kind
    assert words in str(error)
    assert error.exit_code == 4
    assert type(from_exception(RuntimeError(words))) is kind
    assert from_exception(error) is error


def test_a_gpu_that_another_process_has_is_said_with_the_way_out():
    error = from_message("CUDA-capable device(s) is/are busy or unavailable")
    assert isinstance(error, DeviceUnavailable)
    assert "nvidia-smi -c DEFAULT" in str(error)
    assert "dmesg" not in str(error)


def test_out_of_memory_is_also_a_memory_error():
    assert isinstance(from_message("out of memory"), MemoryError)


def test_arguments_are_laid_out_as_c_does():
    block = np.dtype([("pointer", np.uint64), ("count", np.int32)], align=True)
    values = [np.int32(1), np.uint64(2), np.float32(1), np.zeros((), block)[()], np.uint8(7)]
    assert len(pack(values)) == 41
    assert pack(values)[8:16] == (2).to_bytes(8, "little")
    with pytest.raises(TypeError, match="argument 1: expected a NumPy scalar, got int"):
        pack([np.int32(1), 2])


REAL_DEVICE = """
import ctypes, gc, threading
import numpy as np
from livecut.engine.cuda import open_device
from livecut.engine.errors import BackendError, DeviceLost, OutOfDeviceMemory, WrongDevice

software = ctypes.CDLL("libcuda.so.1")
live = lambda: [software.software_live(kind) for kind in range(6)]
device = open_device()
assert (device.name, device.compute_capability, device.integrated) == ("Software GPU", "8.6", False)
with device.activate():
    with device.activate():
        pass
    source, target = device.page_locked((2, 4), np.float32), device.page_locked((8,), np.float32)
    assert not source.any() and source.ctypes.data % 64 == 0
    memory, stream, event = device.malloc(32), device.stream(), device.event()
    module = device.load_module(b"software")
    scale = module.kernel("scale")

    def frame():
        stream.copy_in(memory.pointer, source)
        stream.launch(
            scale, (1, 1, 1), (32, 1, 1), [np.uint64(memory.pointer), np.int32(8), np.float32(3)]
        )
        stream.copy_out(target, memory.pointer)

    source[...] = 2
    frame()
    stream.record(event)
    stream.wait(event)
    event.synchronize()
    assert event.query() and target.tolist() == [6] * 8

    garbage = device.page_locked((4,), np.float32)
    stream.begin_capture()
    frame()
    del garbage
    graph = stream.end_capture()
    assert graph.nodes == 3 and target.tolist() == [6] * 8
    for value in (1, 5):
        source[...] = value
        graph.launch(stream)
        stream.synchronize()
        assert target.tolist() == [3 * value] * 8
    stream.fill(memory.pointer, 0, 32)
    stream.copy(memory.pointer + 16, memory.pointer, 16)
    assert device.memory_info()[1] == 1 << 30
    for wrong, kind in (
        (lambda: device.malloc(1 << 31), OutOfDeviceMemory),
        (lambda: module.kernel("nothing"), BackendError),
        (lambda: device.load_module(b"rubbish!"), WrongDevice),
    ):
        try:
            wrong()
        except kind as error:
            print(error)
        else:
            raise SystemExit(f"expected {kind}")

try:
    device.malloc(1)
except BackendError:
    pass
else:
    raise SystemExit("outside activate() everything fails")

# A thread that did not make the context frees what another took.
view = target[3:]
def elsewhere():
    global source, target
    with device.activate():
        memory.free(), memory.free(), graph.free(), stream.free(), event.free(), module.unload()
    del source, target
    gc.collect()
del scale
frame = None
thread = threading.Thread(target=elsewhere)
thread.start(), thread.join()
assert live() == [0, 1, 0, 0, 0, 0], live()
del view
gc.collect()
assert live() == [0] * 6, live()

# A fault: everything fails, until all that uses the context is closed and the device is opened again.
other = open_device()
with other.activate():
    held = other.page_locked((4,), np.float32)
with device.activate():
    stream = device.stream()
    software.software_set(700, 0, ctypes.c_size_t(1 << 30))
    try:
        with device.activate():
            stream.synchronize()
    except DeviceLost as error:
        print(error)
    else:
        raise SystemExit("expected DeviceLost")
device.close()
device.close()
assert held.tolist() == [0] * 4 and software.software_dangling() == 0
try:
    open_device()
except DeviceLost as error:
    print(error)
else:
    raise SystemExit("expected DeviceLost")
other.close()
del held
gc.collect()
device = open_device()
stream.native = None  # what is left of the context that was
assert software.software_dangling() == 0
with device.activate():
    device.malloc(16).free()
device.close()

software.software_set(0, 1, ctypes.c_size_t(1 << 30))
from livecut.engine.cuda import probe
probe._ask.cache_clear()
jetson = open_device()
assert jetson.integrated
with jetson.activate():
    array = jetson.page_locked((4,), np.float32)
    assert jetson.mapped_pointer(array) == array.ctypes.data
    del array
assert software.software_depth() == 0
print("all well")
"""


@pytest.mark.skipif(PYCUDA is None, reason="needs pycuda, which builds only where CUDA is installed")
def test_pycuda_device_on_the_software_driver(driver, tmp_path):
    script = tmp_path / "real_device.py"
    script.write_text(textwrap.dedent(REAL_DEVICE), encoding="utf-8")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all well\n")
    warnings = (
        done.stderr.count("PyCUDA WARNING"),
        done.stderr.count("cuMemFreeHost failed: an illegal memory"),
    )
    assert warnings == (1, 1), done.stderr  # what a lost context held


# -- pycuda, or what is wrong with it


def pretend_pycuda(monkeypatch, driver):
    package = types.ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


def test_no_pycuda_is_said_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(
        DeviceUnavailable, match=r"pycuda is needed for the GPU and does not load: .*livecut\[gpu"
    ):
        pycuda_device._driver()


def test_a_driver_older_than_pycudas_cuda_is_one_clear_error(monkeypatch):
    driver = types.ModuleType("pycuda.driver")
    driver.init, driver.get_version = lambda: None, lambda: (13, 0, 0)
    driver.get_driver_version = lambda: 12040
    pretend_pycuda(monkeypatch, driver)
    with pytest.raises(
        DriverTooOld, match="built for CUDA 13, the driver goes up to CUDA 12; install a newer"
    ):
        pycuda_device._driver()
    driver.get_driver_version = lambda: 13010
    assert pycuda_device._driver() is driver


def test_a_pycuda_that_fails_to_start_fails_with_the_drivers_words(monkeypatch):
    def init():
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")

    driver = types.ModuleType("pycuda.driver")
    driver.init = init
    pretend_pycuda(monkeypatch, driver)
    with pytest.raises(DeviceUnavailable, match="no CUDA-capable device is detected"):
        pycuda_device._driver()


class FailingPycuda(types.ModuleType):
    """As much of pycuda.driver as opens a Jetson, and then fails with CUDA's words wherever it can."""

    class Context:
        @staticmethod
        def pop():
            raise RuntimeError("cuCtxPopCurrent failed: invalid device context")

        def push(self):
            pass

    class _Allocation(np.ndarray):
        def get_device_pointer(self):
            raise RuntimeError("cuMemHostGetDevicePointer failed: an illegal memory access was encountered")

    host_alloc_flags = types.SimpleNamespace(DEVICEMAP=2)

    def __init__(self):
        super().__init__("pycuda.driver")
        self.init, self.get_version, self.get_driver_version = (
            (lambda: None),
            (lambda: (13,)),
            (lambda: 13000),
        )
        self.Device = lambda ordinal: types.SimpleNamespace(retain_primary_context=self.Context)

    def pagelocked_empty(self, shape, dtype, mem_flags):
        return np.empty(shape, dtype).view(self._Allocation)[:]


@pytest.fixture
def failing_device(monkeypatch, tmp_path):
    info = GpuInfo(0, "Jetson", "8.7", "13.0", True, 1 << 30)
    monkeypatch.setattr(pycuda_device, "find_gpu", lambda ordinal: info)
    library = types.SimpleNamespace(path=str(tmp_path), reset_primary_context=lambda ordinal: None)
    monkeypatch.setattr(pycuda_device, "LibCuda", lambda: library)
    pretend_pycuda(monkeypatch, FailingPycuda())
    return pycuda_device.PycudaDevice()


def test_a_context_that_cannot_be_taken_off_does_not_hide_why(failing_device):
    with pytest.raises(DeviceLost, match="gone"), failing_device.activate():
        raise DeviceLost("gone")
    with failing_device.activate():
        pass


def test_memory_that_cannot_be_mapped_fails_with_our_error(failing_device):
    with pytest.raises(DeviceLost, match="illegal memory access"), failing_device.activate():
        failing_device.page_locked((4,), np.uint8)
