"""The CUDA kernels on the fake GPU: their own source, run on the host when a launch's turn has come."""

import numpy as np
from fake_cuda import FakeKernel

from livecut.kernels.cuda import KERNELS, CompiledModule, emulate

IMAGE = b"emulated"
MODULE = CompiledModule(IMAGE, tuple(KERNELS), "8.6", "emulated")
# Which pointers of its argument block a kernel writes through; through all others it reads.
_WRITES = {
    "lc_preprocess": {"out", "small"},
    "lc_measure": {"slope", "rows"},
    "lc_solve": {"coefficients", "colours", "status"},
    "lc_smooth": {"out", "status"},
    "lc_remember": {"previous", "luma", "seen"},
    "lc_blur": {"to"},
    "lc_composite_packed": {"out"},
    "lc_composite_straight": {"out"},
    "lc_composite_alpha": {"out"},
    "lc_composite_planar": {"out"},
    "lc_over": {"out"},
}


def load_kernels(device):
    """Let ``device.load_module(IMAGE)`` give the kernels."""
    device.images[IMAGE] = {name: _kernel(device, name) for name in KERNELS}


def _kernel(device, name):
    def touch(arguments):
        reads, writes = [], []
        for field in KERNELS[name].names:
            for pointer in _pointers(arguments[0][field]):
                (writes if field in _WRITES[name] else reads).append(device.memory.around(pointer))
        return reads, writes

    def run(device, grid, block, arguments):
        emulate.call(name, grid, block, arguments)

    return FakeKernel(name, run, touch)


def _pointers(value):
    if value.dtype.names == ("at", "stride"):
        return [int(pointer) for pointer in value["at"] if pointer]
    return [int(value)] if value.dtype == np.uint64 and value else []
