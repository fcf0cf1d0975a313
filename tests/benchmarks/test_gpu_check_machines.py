"""The memory that the check's kernels run in: a write beside a block is seen on a device as on the host."""

import numpy as np
import pytest
import software_gpu

from benchmarks.gpu_check.ctypes_device import CtypesDevice
from benchmarks.gpu_check.machines import ALIGNMENT, DeviceMachine, HostMachine, WroteOutside
from livecut.kernels.cuda import Planes, emulate, over_launch

SIZE_WH, ROW = (8, 4), 24
NBYTES = 4 * ROW


@pytest.fixture(params=["host", "device"])
def machine(request):
    if request.param == "host":
        if emulate.compiler() is None:
            pytest.skip("no C++ compiler to emulate CUDA with")
        yield HostMachine()
        return
    device = CtypesDevice(path=str(request.getfixturevalue("driver")))
    with device.activate():
        machine = DeviceMachine(device, software_gpu.IMAGE)
        yield machine
        machine.close()
    device.close()


def copy_to(machine, address):
    """Write a picture of ``NBYTES`` of 7 there."""
    picture, alpha = machine.take(NBYTES), machine.take(32)
    machine.write(picture, np.full(NBYTES, 7, np.uint8))
    machine.write(alpha, np.full(32, 255, np.uint8))
    image, opaque, out = Planes((picture,), (ROW,)), Planes((alpha,), (8,)), Planes((address,), (ROW,))
    machine.run([over_launch(image, opaque, image, out, size_wh=SIZE_WH)])


def test_a_block_is_aligned_and_full_of_rubbish_and_holds_what_is_written(machine):
    address = machine.take(NBYTES)
    assert address % ALIGNMENT == 0
    assert (machine.read(address, NBYTES) == 0xCD).all()
    copy_to(machine, address)
    assert (machine.read(address, NBYTES) == 7).all()


@pytest.mark.parametrize(("nbytes", "shift"), [(NBYTES - 1, 0), (NBYTES, 1), (NBYTES, -1), (NBYTES, -ROW)])
def test_a_write_beside_a_block_is_seen(machine, nbytes, shift):
    address = machine.take(nbytes)
    with pytest.raises(WroteOutside, match=f"outside a block of {nbytes} bytes"):
        copy_to(machine, address + shift)
