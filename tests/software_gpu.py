"""A GPU made of software for whole checks: the driver of software_cuda.c with livecut's own kernels in it.

Everything above the driver is the real thing. What it computes is right; the times mean nothing.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
IMAGE = b"software" + bytes(64)
"""What the driver takes for a module of livecut's kernels."""


def build(folder):
    """``folder/libcuda.so.1``; skips the test where there is no compiler."""
    compilers = shutil.which("gcc") or shutil.which("cc"), shutil.which("g++") or shutil.which("c++")
    if None in compilers:
        pytest.skip("needs C and C++ compilers")
    c, cpp = compilers
    objects = [str(folder / name) for name in ("driver.o", "kernels.o")]
    subprocess.run(
        [c, "-std=gnu11", "-c", "-fPIC", "-O1", str(FOLDER / "software_cuda.c"), "-o", objects[0]], check=True
    )
    flags = ["-std=c++17", "-c", "-fPIC", "-O2", "-fno-strict-aliasing", "-ffp-contract=off", "-w"]
    subprocess.run([cpp, *flags, str(FOLDER / "software_kernels.cpp"), "-o", objects[1]], check=True)
    # Another soname: what opens libcuda.so.1 later in this process, as TensorRT does, must not get this one.
    path = folder / "libcuda.so.1"
    subprocess.run([cpp, "-shared", "-Wl,-soname,libsoftware-gpu.so", *objects, "-o", str(path)], check=True)
    return path


def backend_class():
    """A backend whose engine is ``bundles.red_as_alpha`` as one copy; with state, red goes there as well."""
    from livecut.engine.backends.base import BackendInfo
    from livecut.engine.backends.device_backend import DeviceBackend

    class Program:
        why_not_captured = ""

        def __init__(self, manifest, size_wh, batch):
            self.manifest, self.nbytes, self.bound = manifest, 4 * size_wh[0] * size_wh[1], {}
            self.batch = batch

        def bind(self, name, pointer):
            self.bound[name] = pointer

        def enqueue(self, stream):
            outputs = [self.manifest.output_name, *(tensor.output for tensor in self.manifest.state)]
            for row in range(self.batch):
                red = self.bound[self.manifest.input_name] + 3 * row * self.nbytes
                for name in outputs:
                    stream.copy(self.bound[name] + row * self.nbytes, red, self.nbytes)

        def free(self):
            self.bound.clear()

    class Copying(DeviceBackend):
        name = "copying"

        def _load(self, device, manifest, precision, threads):
            self._module = device.load_module(IMAGE)

        def _takes(self):
            return self.batch, ""

        def _program(self, batch=1):
            return Program(self._manifest, self._size_wh, batch)

        def _unload(self):
            pass

        @property
        def info(self):
            return BackendInfo("copying", self._require().name, "fp32", 0, self.how())

    return Copying


def kernels_in(source):
    """Names of the kernels that a .cpp lists for the driver."""
    return re.findall(r"ROW\((lc_\w+)\)", source)
