"""The primary context, which all devices of a process share: a lost one is reset once nobody uses it.

The device is the check's own, which needs no pycuda; what is looked at both have from ``PrimaryDevice``.
"""

import ctypes
import gc
import shutil
import threading

import numpy as np
import pytest
import software_gpu

from benchmarks.gpu_check.ctypes_device import CtypesDevice
from livecut.engine.errors import BackendError, DeviceLost
from livecut.engine.manifest import Manifest

HOST_MEMORY = 1  # of software_live


class Gpu:
    """A GPU made of software, and the devices that are opened on it."""

    def __init__(self, path):
        self.path = str(path)
        self.library = ctypes.CDLL(self.path)

    def open(self):
        return CtypesDevice(path=self.path)

    def lose(self, device):
        """An illegal address, which ``device`` is the first to hear of."""
        self.library.software_set(700, 0, ctypes.c_size_t(1 << 30))
        with pytest.raises(DeviceLost), device.activate():
            device.malloc(16)

    @property
    def dangling(self):
        """How often something was used that had gone with its context, host memory included."""
        return self.library.software_dangling()

    @property
    def host_blocks(self):
        return self.library.software_live(HOST_MEMORY)


@pytest.fixture
def gpu(driver, tmp_path):
    return Gpu(shutil.copy(driver, tmp_path / "libcuda.so.1"))  # a copy of its own: nothing in it yet


def works(device):
    with device.activate():
        memory, stream = device.malloc(16), device.stream()
        stream.fill(memory.pointer, 0, 16)
        stream.synchronize()
        stream.free(), memory.free()
    return True


def page_locked(device):
    with device.activate():
        return device.page_locked((4,), np.float32)


def test_threads_that_take_and_give_back_at_once_leave_all_memory_free(gpu):
    device, failed = gpu.open(), []

    def take_and_give_back():
        try:
            with device.activate():
                for _ in range(4000):
                    device.malloc(1).free()
        except BackendError as error:
            failed.append(error)

    threads = [threading.Thread(target=take_and_give_back) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with device.activate():
        free, total = device.memory_info()
    device.close()
    assert not failed
    assert free == total


def test_a_loss_that_is_first_noticed_while_closing_is_not_forgotten(gpu, tiny_model):
    backend = software_gpu.backend_class()(gpu.open)
    backend.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
    gpu.library.software_set(700, 0, ctypes.c_size_t(1 << 30))  # nobody has called anything since
    backend.close()
    del backend
    gc.collect()
    device = gpu.open()
    assert works(device), "the context was reset"
    device.close()


def test_a_lost_context_is_not_reset_under_another_session(gpu):
    first, second = gpu.open(), gpu.open()
    array = page_locked(second)
    gpu.lose(first)
    first.close()
    assert gpu.dangling == 0, "reset while another device is open on it"
    with pytest.raises(DeviceLost, match="1 open session and 1 array are left"):
        gpu.open()
    second.close()
    assert gpu.dangling == 0, "reset while an array of it is read"
    with pytest.raises(DeviceLost, match="0 open sessions and 1 array are left"):
        gpu.open()
    array += 1
    del array
    third = gpu.open()
    assert works(third)
    third.close()
    assert (gpu.dangling, gpu.host_blocks) == (0, 0)


def test_the_last_to_close_resets_what_another_has_seen_lost(gpu):
    first, second = gpu.open(), gpu.open()
    gpu.lose(first)
    first.close()
    second.close()
    assert works(gpu.open())


def test_an_array_outlives_its_device(gpu):
    device = gpu.open()
    array = page_locked(device)
    device.close()
    assert gpu.dangling == 0, "its memory went with the device"
    assert array.tolist() == [0] * 4
    del array
    assert (gpu.dangling, gpu.host_blocks) == (0, 0)


def test_what_was_forgotten_does_not_keep_a_lost_context(gpu):
    forgotten, other = gpu.open(), gpu.open()
    cycle = [page_locked(other), page_locked(forgotten), forgotten]
    cycle.append(cycle)
    gpu.lose(other)
    other.close()
    gc.disable()  # it is not collected by chance
    try:
        del forgotten, cycle
        assert works(gpu.open())
    finally:
        gc.enable()
    assert gpu.dangling == 0


def test_a_context_that_another_library_reset_is_taken_anew(gpu):
    device = gpu.open()
    gpu.library.cuDevicePrimaryCtxReset_v2(0)
    with pytest.raises(DeviceLost, match="context is destroyed"):
        works(device)
    device.close()
    assert works(gpu.open())


def test_garbage_that_is_collected_in_a_capture_is_given_back_after_it(gpu):
    device = gpu.open()
    with device.activate():
        array, memory, stream = device.page_locked((4,), np.float32), device.malloc(16), device.stream()
        garbage = device.page_locked((4,), np.float32)
        stream.begin_capture()
        stream.copy_in(memory.pointer, array)
        del garbage
        assert gpu.host_blocks == 2
        stream.copy_out(array, memory.pointer)
        graph = stream.end_capture()
        assert graph.nodes == 2
        assert gpu.host_blocks == 1


def test_garbage_waits_for_a_stream_that_is_freed_in_a_capture(gpu):
    device = gpu.open()
    with device.activate():
        garbage, stream = device.page_locked((4,), np.float32), device.stream()
        stream.begin_capture()
        del garbage
        assert gpu.host_blocks == 1
        stream.free()
        assert gpu.host_blocks == 0


def test_garbage_of_another_thread_does_not_wait_for_a_capture(gpu):
    device = gpu.open()
    held = [page_locked(device)]
    with device.activate():
        stream = device.stream()
        stream.begin_capture()
        thread = threading.Thread(target=held.clear)
        thread.start(), thread.join()
        assert gpu.host_blocks == 0
        stream.end_capture().free()


def test_a_capture_that_cannot_begin_holds_nothing_back(gpu):
    device = gpu.open()
    with device.activate():
        garbage, stream = device.page_locked((4,), np.float32), device.stream()
        gpu.library.software_set(700, 0, ctypes.c_size_t(1 << 30))
        with pytest.raises(BackendError):
            stream.begin_capture()
        gpu.library.software_set(0, 0, ctypes.c_size_t(1 << 30))
        del garbage
        assert gpu.host_blocks == 0
