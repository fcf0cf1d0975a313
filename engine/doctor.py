"""What is installed here, what would run and why: ``livecut doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from .errors import DeviceUnavailable, LivecutError
from .openvino_core import openvino_core
from .processor import cpu_model
from .registry import DEFAULT_MODEL

CODECS = {
    "libvpx-vp9": "VP9 in WebM, with alpha",
    "prores_aw": "ProRes 4444 in MOV, with alpha",
    "ffv1": "FFV1 in MKV, with alpha",
    "libx264": "H.264 in MP4, composited",
}
SIMD_LEVELS = ("plain", "avx2", "avx512")
Status = Literal["ok", "absent", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    status: Status
    """``ok``; ``absent``: not here, and needed only by what its text says; ``bad``: here and broken."""
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    """The same for machines."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def examine(model: str = DEFAULT_MODEL, backend: str = "auto", precision: str = "auto") -> list[Finding]:
    """Look at everything livecut can use here. Slow by design (about a second): it opens what it reports.

    Parameters
    ----------
    model, backend, precision : str
        As for ``Session``: what the last line tries to run.
    """
    findings = list(_python())
    findings += [_cpu(), _cores(), _openvino(), _onnxruntime(), _gpu()]
    findings += _codecs()
    findings += [_display(), _cameras()]
    findings += _models()
    findings.append(_engines(model, precision))
    findings.append(_would_run(model, backend, precision))
    return findings


def _safely(name: str) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """A doctor does not fall ill: whatever a broken library raises becomes its own line."""

    def wrap(look: Callable[[], Finding]) -> Callable[[], Finding]:
        def looked() -> Finding:
            try:
                return look()
            except Exception as error:
                return Finding(name, "bad", f"{type(error).__name__}: {' '.join(str(error).split())}")

        return looked

    return wrap


def _python() -> Iterator[Finding]:
    from .. import __version__

    system = f"{platform.system()} {platform.machine()}"
    data = {"livecut": __version__, "python": platform.python_version(), "system": system}
    yield Finding("livecut", "ok", f"{__version__}, Python {data['python']}, {system}", data)
    packages = {}
    for name in ("numpy", "opencv-python", "pillow", "onnx", "av", "typer", "rich"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = ""
    missing = [name for name, number in packages.items() if not number]
    text = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    if missing:
        text += f"; not installed by pip: {', '.join(missing)}"
    yield Finding("packages", "ok", text, packages)


@_safely("processor")
def _cpu() -> Finding:
    from .. import kernels

    model = cpu_model() or platform.machine()
    features = list(kernels.cpu_features())
    text = f"{model}; kernels can use {', '.join(features) or 'plain'}"
    status: Status = "ok"
    if asked := os.environ.get("LIVECUT_SIMD"):
        known = asked in SIMD_LEVELS
        text += f"; LIVECUT_SIMD={asked} " + (
            "is the most they may" if known else f"is none of {', '.join(SIMD_LEVELS)} and does nothing"
        )
        status = "ok" if known else "bad"
    return Finding("processor", status, text, {"model": model, "features": features})


@_safely("cores")
def _cores() -> Finding:
    from .threads import affinity, available_cpus, cgroup_quota

    quota, mask, all_cores = cgroup_quota(), len(affinity()), os.cpu_count()
    data = {"machine": all_cores, "affinity": mask, "cgroup_quota": quota, "used": available_cpus()}
    limit = f"cgroup quota {quota:g}" if quota else "no cgroup quota"
    return Finding(
        "cores", "ok", f"{available_cpus()} used of {all_cores}; {mask} by affinity, {limit}", data
    )


@_safely("openvino")
def _openvino() -> Finding:
    if find_spec("openvino") is None:
        return Finding(
            "openvino", "absent", "not installed: pip install openvino; the default backend on a CPU"
        )
    import openvino

    core = openvino_core()
    devices = {
        name: [str(c) for c in core.get_property(name, "OPTIMIZATION_CAPABILITIES")]
        for name in core.available_devices
    }
    number = openvino.__version__.split("-")[0]
    text = "; ".join(f"{name}: {', '.join(capabilities)}" for name, capabilities in devices.items())
    return Finding("openvino", "ok", f"{number}; {text}", {"version": number, "devices": devices})


@_safely("onnxruntime")
def _onnxruntime() -> Finding:
    if find_spec("onnxruntime") is None:
        text = "not installed: pip install livecut[onnxruntime]; needed for --backend onnxruntime"
        return Finding("onnxruntime", "absent", text)
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    data = {"version": onnxruntime.__version__, "providers": providers}
    return Finding("onnxruntime", "ok", f"{onnxruntime.__version__}; {', '.join(providers)}", data)


@_safely("gpu")
def _gpu() -> Finding:
    from .backends.gpu import GPU_BACKENDS, why_not
    from .cuda import find_gpu

    reasons = {name: why_not(name) for name in GPU_BACKENDS}
    data: dict[str, Any] = {"nvidia_driver": _nvidia_driver(), "backends": reasons}
    usable = [name for name, reason in reasons.items() if not reason]
    try:
        gpu = find_gpu()
    except DeviceUnavailable as error:
        return Finding("gpu", "absent", f"{error}; models run on the CPU", data)
    data |= {"name": gpu.name, "compute_capability": gpu.compute_capability}
    if usable:
        return Finding("gpu", "ok", f"{gpu}; {', '.join(usable)} can run", data)
    why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return Finding("gpu", "bad", f"{gpu}; and no backend can use it: {why}", data)


def _nvidia_driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    return next((word for word in text.split() if word[:1].isdigit() and "." in word), "of unknown version")


def _codecs() -> Iterator[Finding]:
    try:
        import av
    except ImportError as error:
        yield Finding("codecs", "bad", f"the package av does not load: {error}")
        return
    for name, use in CODECS.items():
        there = name in av.codecs_available
        text = use if there else f"missing in this build of av: no {use}"
        yield Finding(name, "ok" if there else "absent", text, {"encoder": there})


@_safely("display")
def _display() -> Finding:
    where = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if where or sys.platform in ("darwin", "win32"):
        return Finding("display", "ok", where or "the desktop", {"display": where})
    return Finding(
        "display", "absent", "no DISPLAY or WAYLAND_DISPLAY; needed for the sink window", {"display": None}
    )


@_safely("cameras")
def _cameras() -> Finding:
    if sys.platform != "linux":
        return Finding("cameras", "ok", "not listed on this system; try camera://0")
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    if not cameras:
        return Finding(
            "cameras", "absent", "none under /dev/video*; synthetic:// is one for trying", {"cameras": []}
        )
    closed = [path for path in cameras if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        text = f"{', '.join(cameras)}; no permission for {', '.join(closed)}: join the group video"
        return Finding("cameras", "bad", text, {"cameras": cameras})
    return Finding("cameras", "ok", ", ".join(cameras), {"cameras": cameras})


def _models() -> Iterator[Finding]:
    from .manifest import Manifest
    from .registry import available_models

    found = available_models()
    if not found:
        yield Finding("models", "bad", "none; the package is incomplete: install it again")
    for name, folder in found.items():
        try:
            manifest = Manifest.load(folder)
            manifest.check_file()
        except LivecutError as error:
            yield Finding(f"model {name}", "bad", str(error), {"folder": str(folder)})
            continue
        size = manifest.model_path.stat().st_size
        data = {
            "folder": str(folder),
            "version": manifest.version,
            "licence": manifest.licence,
            "bytes": size,
            "variants": sorted(manifest.variants),
        }
        also = f", also in {' and '.join(sorted(manifest.variants))}" if manifest.variants else ""
        text = f"{manifest.version}, {manifest.licence}, {size / 1e6:.1f} MB{also}, sha256 is right, {folder}"
        yield Finding(f"model {name}", "ok", text, data)


def _engines(model: str, precision: str) -> Finding:
    """Whether a cached TensorRT engine of ``model`` is usable here, and why not. Loads none."""
    from .registry import load_manifest
    from .tensorrt.report import engine_states, place_or_reason

    place, reason = place_or_reason()
    data: dict[str, Any] = {"place": asdict(place) if place else None, "engines": []}
    try:
        states = engine_states(load_manifest(model), precision)
    except LivecutError as error:
        return Finding("engines", "bad", str(error), data)
    data["engines"] = [asdict(state) for state in states]
    text = "; ".join(f"{state.what}: {state.text}" for state in states)
    if place is None:
        why = f"{reason}, as --backend tensorrt needs"
        return Finding("engines", "absent", f"{why}. There are: {text}" if states else why, data)
    usable = [state.is_usable for state in states]
    if not all(usable):
        text += "; what is missing is built when it is first used"
    return Finding("engines", "ok" if any(usable) else "absent", text, data)


def _would_run(model: str, backend: str, precision: str) -> Finding:
    """Open what a command would open: the only honest way to say what would run."""
    from .session import Session

    try:
        with Session(model, backend=backend, precision=precision) as session:
            info, reason = session.info, session.reason
            text = f"{session.manifest.name} on {info} ({info.details}); {reason}"
    except LivecutError as error:
        return Finding("would run", "bad", str(error), {"exit_code": error.exit_code})
    return Finding("would run", "ok", text, {**info.to_json(), "reason": reason})
