"""What the tests of the GPU check's stages share: a GPU made of software, and a look at reports."""

import json
from functools import partial

import software_gpu

from benchmarks.gpu_check.ctypes_device import CtypesDevice
from benchmarks.gpu_check.results import Report
from livecut.kernels.cuda import KERNELS, CompiledModule

MODULE = CompiledModule(software_gpu.IMAGE, tuple(KERNELS), "8.6", "software")


def settings_for(driver, model):
    device = partial(CtypesDevice, path=str(driver))
    return {
        "model": str(model),
        "backend": lambda: software_gpu.backend_class()(device),
        "module": MODULE, "small": True, "quick": True, "size_wh": (64, 32), "open_device": device,
    }  # fmt: skip


def report():
    return Report("stage", "A stage")


def assert_passed(found, figures):
    assert found.judged().status == "passed", found.reason
    for name in figures:
        assert any(name in each.what for each in found.figures), f"no figure {name!r}: {found.figures}"
    Report.from_json(json.loads(json.dumps(found.to_json())))
