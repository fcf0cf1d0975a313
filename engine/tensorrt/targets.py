"""What an engine is bound to: the compute capability of a GPU, and the driver under which it was built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..cuda import find_gpu
from ..errors import DeviceUnavailable, UsageError
from .api import Api

KNOWN = {
    "7.5": "RTX 20, T4", "8.0": "A100", "8.6": "RTX 30, A10", "8.7": "Jetson Orin", "8.9": "RTX 40, L4",
    "9.0": "H100", "10.0": "B200", "10.3": "B300", "11.0": "Jetson Thor", "12.0": "RTX 50",
    "12.1": "DGX Spark",
}  # fmt: skip
"""Compute capabilities that TensorRT has been made for since 8.6, and a device of each."""


@dataclass(frozen=True)
class Gpu:
    """What an engine is bound to on this machine."""

    name: str
    compute_capability: str
    """Such as ``8.6``."""
    driver: str
    """Version of the NVIDIA driver; on a Jetson that of its L4T release."""


def present_gpu(ordinal: int = 0) -> Gpu | None:
    """A GPU of this machine; None where there is none, or no driver for it."""
    try:
        info = find_gpu(ordinal)
    except DeviceUnavailable:
        return None
    return Gpu(info.name, info.compute_capability, driver_version() or f"CUDA {info.driver}")


def driver_version(root: Path = Path("/")) -> str | None:
    """Version of the NVIDIA driver as its files say: ``580.65.06``, or ``L4T 36.4.3`` on a Jetson.

    A driver can change without the CUDA version it brings, and engines are bound to the driver itself.
    """
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8")
        if found := re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text):
            return found[1]
    except OSError:
        pass  # a Jetson's driver has no such file
    try:
        text = (root / "etc/nv_tegra_release").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return f"L4T {found[1]}.{found[2]}" if found else None


def parse_compute_capabilities(text: str) -> tuple[str, ...]:
    """``8.6``, ``sm_86``, ``86`` or several with commas between, as ``("8.6",)``.

    Raises
    ------
    UsageError
        If one of them is not a compute capability that TensorRT knows.
    """
    found = []
    for word in text.split(","):
        match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", word.strip().lower())
        value = f"{match[1]}.{match[2]}" if match else ""
        if value not in KNOWN:
            raise UsageError(
                f"compute capability: expected such as sm_86 or 8.6, got {word.strip()!r}; there are "
                f"{', '.join(KNOWN)}"
            )
        if value not in found:
            found.append(value)
    return tuple(found)


def choose_targets(api: Api, wanted: str | None, gpu: Gpu | None) -> tuple[str, ...]:
    """The compute capabilities to build for.

    Parameters
    ----------
    wanted : str, optional
        As for ``parse_compute_capabilities``; None for the GPU that is here.
    gpu : Gpu, optional
        The GPU that is here.

    Raises
    ------
    DeviceUnavailable
        If this library cannot build for one of them; the message says which it can and where else to build.
    UsageError
        If one of them is not a compute capability, or none was named and there is no GPU.
    """
    here = gpu.compute_capability if gpu else None
    targets = parse_compute_capabilities(wanted) if wanted else (here,) if here else ()
    if api.builds_for_other_gpus:
        if not targets:
            raise UsageError(
                f"compute capability: there is no GPU here to take it from; name one {api} builds for: "
                f"{', '.join('sm_' + t.replace('.', '') for t in api.targets())}"
            )
        for target in targets:
            if api.target(target) is None:
                raise DeviceUnavailable(
                    f"compute capability {described(target)}: {api} builds for {', '.join(api.targets())}; "
                    "for others build on the device itself, with the TensorRT of JetPack or livecut[gpu]"
                )
        return targets
    if gpu is None:
        raise DeviceUnavailable(
            f"{api} builds only on a machine with the GPU that the engine is for, and there is none here; "
            "build there, or for GeForce and RTX cards here with livecut[rtx]"
        )
    if targets != (here,):
        raise DeviceUnavailable(
            f"compute capability {', '.join(map(described, targets))}: {api} builds only for the GPU that is "
            f"here, {described(gpu.compute_capability)}; build on the device itself"
        )
    return targets


def described(compute_capability: str) -> str:
    """``8.7 (Jetson Orin)``."""
    example = KNOWN.get(compute_capability)
    return f"{compute_capability} ({example})" if example else compute_capability
