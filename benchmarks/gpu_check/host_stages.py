"""Stages that need no GPU."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from livecut.kernels.cuda import emulate
from livecut.kernels.cuda.nvrtc import Nvrtc
from livecut.kernels.cuda.sources import (
    COMPUTE_CAPABILITIES,
    cubin_command,
    find_nvcc,
    nvcc_version,
    supported,
)

from . import numerics
from .cases import preprocess_cases, refine_cases
from .machines import HostMachine, Machine
from .results import Check, NotRun, Report

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "pycuda", "tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "onnxruntime", "onnxruntime-gpu",
    "torch", "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12", "numpy", "onnx",
)  # fmt: skip
FAKE_DEVICE_TESTS = (
    "tests/**/test_*cuda*.py",
    "tests/engine/test_tensorrt_backend.py",
    "tests/engine/test_gpu_failover.py",
    "tests/engine/test_gpu_pipeline.py",
    "tests/engine/test_streams_batched.py",
    "tests/engine/test_whole_frame.py",
)


def environment(report: Report, settings: dict[str, Any]) -> None:
    """Driver, GPU, compilers and libraries; passes everywhere."""
    from livecut.engine.cuda import find_gpu
    from livecut.engine.errors import BackendError

    try:
        report.facts["gpu"] = str(find_gpu())
    except BackendError as error:
        report.facts["gpu"] = f"none: {error}"
    report.facts["CUDA graphs"] = "captured and launched through libcuda by ctypes, as pycuda has none"
    nvcc = find_nvcc()
    report.facts["nvcc"] = f"{nvcc_version(nvcc)} ({nvcc})" if nvcc else "none"
    try:
        nvrtc = Nvrtc()
        report.facts["nvrtc"] = "{}.{} ({})".format(*nvrtc.version, nvrtc.path)
    except ValueError as error:
        report.facts["nvrtc"] = f"none: {error}"
    report.facts["c++ compiler"] = emulate.compiler() or "none"
    for name in PACKAGES:
        try:
            report.facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            report.facts[name] = "not installed"


def compile_kernels(report: Report, settings: dict[str, Any]) -> None:
    """With nvcc for every usual GPU, and with NVRTC for the newest of them."""
    nvcc = find_nvcc()
    nvrtc: Nvrtc | None
    try:
        nvrtc = Nvrtc()
    except ValueError:
        nvrtc = None
    if nvcc is None and nvrtc is None:
        raise NotRun("neither nvcc nor NVRTC")
    if nvcc:
        known = supported(nvcc)
        capabilities = ("8.6", "9.0") if settings.get("quick") else COMPUTE_CAPABILITIES
        with tempfile.TemporaryDirectory() as folder:
            for each in capabilities:
                what = f"nvcc {nvcc_version(nvcc)} for sm_{each.replace('.', '')}"
                if each not in known:
                    report.facts[what] = "not known to this nvcc"
                    continue
                out = Path(folder) / "kernels.cubin"
                done = subprocess.run(cubin_command(nvcc, each, out), capture_output=True, text=True)
                said = done.stderr.strip()[-500:] or f"{out.stat().st_size} bytes"
                report.checks.append(Check(what, done.returncode == 0 and not done.stderr.strip(), said=said))
    if nvrtc:
        capability = "9.0" if "9.0" in nvrtc.capabilities() else nvrtc.capabilities()[-1]
        size = len(nvrtc.compile(capability))
        what = "NVRTC {}.{} for sm_{}".format(*nvrtc.version, capability.replace(".", ""))
        report.checks.append(Check(what, size > 0, said=f"{size} bytes"))


def emulated(report: Report, settings: dict[str, Any]) -> None:
    """Every kernel on the whole domain of cases, the source compiled as C++."""
    if emulate.compiler() is None:
        raise NotRun("no C++ compiler (g++ or clang++) to emulate CUDA with")
    for reverse in (False, True):
        order = "threads in reverse" if reverse else "threads in order"
        report.checks += against_specification(HostMachine(reverse=reverse), settings, order)


def against_specification(machine: Machine, settings: dict[str, Any], note: str = "") -> list[Check]:
    """One check a kernel: the worst of its cases."""
    outcomes: list[numerics.Outcome] = []
    step = 39 if settings.get("small") else 7 if settings.get("quick") else 1
    for case in list(preprocess_cases())[::step]:
        outcomes += numerics.check_preprocess(machine, case)
    for refining in list(refine_cases())[::step]:
        outcomes += numerics.check_refine(machine, refining)
    for size in ((40, 20), (1, 1), (33, 9)):
        for dtype in ("float32", "float16"):
            outcomes += numerics.check_smooth(machine, size, dtype)
        outcomes += numerics.check_over(machine, size) + numerics.check_over(machine, size, 1)
    outcomes += numerics.check_status(machine)
    for format in ("RGB", "BGRA", "I420"):
        outcomes += numerics.check_in_place(machine, format)
    return [
        _kernel_check(name, [each for each in outcomes if each.kernel == name], note)
        for name in sorted({each.kernel for each in outcomes})
    ]


def _kernel_check(name: str, outcomes: list[numerics.Outcome], note: str) -> Check:
    worst = max(
        outcomes, key=lambda each: (not each.passed, each.error / each.limit if each.limit else each.error)
    )
    wrong = sum(not each.passed for each in outcomes)
    said = f"{len(outcomes)} cases, {wrong} wrong; worst: {worst.case}"
    what = f"{name}, {note}" if note else name
    return Check(what, wrong == 0, worst.error, worst.limit, said)


def fake_device(report: Report, settings: dict[str, Any]) -> None:
    """The tests that run the GPU path on a device made of Python, which catches races and misuse."""
    for package in ("pytest", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise NotRun(f"{package} is not installed")
    files = sorted(
        {str(path.relative_to(ROOT)) for pattern in FAKE_DEVICE_TESTS for path in ROOT.glob(pattern)}
    )
    files = [name for name in files if "gpu_check" not in name and "numerics" not in name]
    if not files:
        raise NotRun("the tests are not in this checkout")
    for name in files:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        said = lines[-1].strip("= ") if lines else done.stderr.strip()[-300:]
        passed = re.search(r"(\d+) passed", said)
        report.checks.append(Check(name, done.returncode == 0 and passed is not None, said=said))
