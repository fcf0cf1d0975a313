"""What a figure was measured on: chip, caches, cores, kernel, versions, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from ..processor import cpu_flags, cpu_model, cpuinfo

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "numpy",
    "opencv-python",
    "openvino",
    "onnxruntime",
    "onnx",
    "av",
    "pillow",
    "Cython",
    "tensorrt",
    "tensorrt-rtx",
    "pycuda",
)
# Flags that decide which loops run; the full list of a chip is a screenful.
TELLING_FLAGS = (
    "avx avx2 fma f16c avx512f avx512bw avx512vl avx512vbmi avx512_vnni avx512_bf16 amx_bf16 amx_int8"
)
TELLING_FLAGS_ARM = "asimd asimddp bf16 i8mm sve sve2"


def describe() -> dict[str, Any]:
    """A JSON-able description of this machine and checkout; ``None`` stands for what could not be read."""
    return {
        "cpu": cpu_model(),
        "flags": [flag for flag in f"{TELLING_FLAGS} {TELLING_FLAGS_ARM}".split() if flag in cpu_flags()],
        "caches": caches(),
        "cores_logical": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cgroup_cpu_limit": cgroup_cpu_limit(),
        "memory_mb": _memory_mb(),
        "gpus": gpus(),
        "board": board(),
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "mhz": _mhz(),
        "hypervisor": "hypervisor" in cpu_flags(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "compiler_of_python": platform.python_compiler(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "livecut": _livecut(),
        "commit": commit(),
        "dirty": dirty(),
    }


def short_name() -> str:
    """The chip and its cores as a word for a file name, such as ``amd-epyc-2c``."""
    words = "".join(c if c.isalnum() else " " for c in (cpu_model() or platform.machine()).lower()).split()
    noise = {"r", "tm", "cpu", "processor", "core", "ghz"}
    kept = [word for word in words if word not in noise][:3]
    return "-".join(
        [*kept, f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}c"]
    )


def caches() -> dict[str, str]:
    """Size of each cache that the first core sees, such as ``{"L1 data": "32K", "L2": "1024K"}``."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level}" + (f" {kind.lower()}" if kind != "Unified" else "")] = size
    return found


def cgroup_cpu_limit() -> float | None:
    """CPUs that the control group grants, or None where it sets no limit."""
    v2 = _read(Path("/sys/fs/cgroup/cpu.max"))
    if v2:
        quota, _, period = v2.partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)
    old = [_read(Path(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us")) for name in ("quota", "period")]
    return int(old[0]) / int(old[1]) if old[0] and old[1] and int(old[0]) > 0 else None


def board() -> str | None:
    """The board's own name, such as a Jetson's; None where there is no device tree."""
    name = _read(Path("/proc/device-tree/model"))
    return name.strip("\0 \n") or None if name else None


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs as the driver tells; empty without one, or without the package nvidia-ml-py."""
    from .sensors.nvml import describe_gpus

    return describe_gpus()


def commit() -> str | None:
    """Short hash of the checkout's commit, or None outside git."""
    return _git("rev-parse", "--short=10", "HEAD")


def dirty() -> bool | None:
    """Whether tracked files differ from the commit; None outside git."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _git(*arguments: str) -> str | None:
    if not (ROOT / ".git").exists():
        return None  # installed: a checkout around the environment is somebody else's
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _mhz() -> float | None:
    value = cpuinfo("cpu MHz")
    return float(value) if value else None


def _memory_mb() -> int | None:
    for line in (_read(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _livecut() -> dict[str, Any]:
    """Version, build flags and instruction set of the kernels in use."""
    from ... import __version__, kernels

    features = getattr(kernels, "cpu_features", None)
    return {
        "version": __version__,
        "simd": list(features()) if features else None,
        "simd_asked": os.environ.get("LIVECUT_SIMD"),
        "build_flags": _build_flags(),
        "compiler": _compiler(),
    }


def _build_flags() -> str | None:
    """The compiler flags that setup.py gives: what the build was told."""
    found = re.search(r"^CFLAGS = (.*?)^\S", _read(ROOT / "setup.py") or "", re.DOTALL | re.MULTILINE)
    return " ".join(re.findall(r'"(-[^"]+)"', found[1])) or None if found else None


def _compiler() -> str | None:
    try:
        done = subprocess.run(
            [os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0] if done.stdout else None
