"""The compiled kernels for one GPU: shipped, or compiled at first use and cached."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .arguments import KERNELS
from .cache import cached, digest_of
from .nvrtc import Nvrtc
from .sources import (
    FATBIN,
    FLAGS,
    FOLDER,
    HEADERS,
    MAIN,
    cubin_command,
    find_nvcc,
    nvcc_version,
    source_digest,
    supported,
)


@dataclass(frozen=True)
class CompiledModule:
    """What `cuModuleLoadData` takes, and where it came from."""

    image: bytes
    """A fatbin, cubin or PTX (which ends in a zero byte)."""
    kernels: tuple[str, ...]
    """Its entry points."""
    compute_capability: str
    how: str
    """For people: ``shipped fatbin``, ``nvcc 13.0`` or ``NVRTC 12.8``."""


def get_module(compute_capability: str, driver: str | None = None) -> CompiledModule:
    """The kernels for a GPU.

    In this order: the fatbin made when livecut was built, if it is of these sources and knows the GPU; nvcc,
    if it is on PATH; NVRTC, from CUDA or from pip's packages. What is compiled here is cached.

    Parameters
    ----------
    compute_capability : str
        Such as ``8.6``.
    driver : str, optional
        The highest CUDA version that the driver knows, such as ``12.4``: what a newer major version compiled
        would not load. None takes anything.

    Raises
    ------
    ValueError
        If it is not of that form, or nothing here can compile for it; the message says what was tried.
    """
    if not re.fullmatch(r"\d+\.\d", compute_capability):
        raise ValueError(f"compute_capability: expected a form like 8.6, got {compute_capability!r}")
    most = int(driver.split(".")[0]) if driver else 0
    shipped = _shipped(compute_capability, driver, most)
    if shipped:
        return shipped
    tried = []
    for make in (_by_nvcc, _by_nvrtc):
        try:
            return make(compute_capability, most)
        except (ValueError, OSError, subprocess.SubprocessError) as error:  # a full disk, an nvcc that hangs
            tried.append(str(error))
    raise ValueError(f"kernels for {compute_capability}: expected a compiler, got none: {'; '.join(tried)}")


def _shipped(compute_capability: str, driver: str | None, most: int) -> CompiledModule | None:
    path = FOLDER / FATBIN
    try:
        said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if said["sources"] != source_digest() or _too_new(said["nvcc"], most):
            return None
        # A driver compiles no PTX of a newer CUDA, be it of the same major version.
        compiles = driver is None or not _after(said["nvcc"], driver)
        serves = compute_capability in said["compute_capabilities"] or (
            compiles and any(_after(compute_capability, each) for each in said["ptx"])
        )
        image = path.read_bytes() if serves else b""
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
    how = f"shipped fatbin (nvcc {said['nvcc']})"
    return CompiledModule(image, tuple(KERNELS), compute_capability, how) if image else None


def _after(one: str, other: str) -> bool:
    """Whether a version comes after another."""
    return [int(part) for part in one.split(".")] > [int(part) for part in other.split(".")]


def _too_new(version: str, most: int) -> bool:
    return bool(most) and int(version.split(".")[0]) > most


def _digest(*words: str) -> str:
    return digest_of(*(FOLDER / name for name in (MAIN, *HEADERS)), words=words)


def _by_nvcc(compute_capability: str, most: int) -> CompiledModule:
    nvcc = find_nvcc()
    if nvcc is None:
        raise ValueError("nvcc is neither on PATH nor under /usr/local/cuda")
    version = nvcc_version(nvcc)
    if _too_new(version, most):
        raise ValueError(f"nvcc {version} is newer than the driver's CUDA {most}")
    if compute_capability not in supported(nvcc):
        raise ValueError(f"nvcc {version} does not compile for it")

    def build(path: Path) -> None:
        done = subprocess.run(cubin_command(nvcc, compute_capability, path), capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"nvcc {version} refuses {MAIN}: {done.stderr.strip()[:2000]}")

    name = f"livecut-{compute_capability}-{_digest('nvcc', version, *FLAGS)}.cubin"
    return CompiledModule(
        cached(name, build).read_bytes(), tuple(KERNELS), compute_capability, f"nvcc {version}"
    )


def _by_nvrtc(compute_capability: str, most: int) -> CompiledModule:
    nvrtc = Nvrtc(most)
    version = "{}.{}".format(*nvrtc.version)

    def build(path: Path) -> None:
        path.write_bytes(nvrtc.compile(compute_capability))

    name = f"livecut-{compute_capability}-{_digest('nvrtc', version)}.bin"
    return CompiledModule(
        cached(name, build).read_bytes(), tuple(KERNELS), compute_capability, f"NVRTC {version}"
    )
