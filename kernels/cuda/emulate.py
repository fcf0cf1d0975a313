"""The CUDA kernels on the host: the same source compiled as C++, for tests and checks of the numerics.

Not a backend: one thread emulates every thread of the GPU, some hundred times slower than the CPU kernels.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from .arguments import KERNELS, Launch
from .cache import cached, digest_of
from .sources import FOLDER, HOST_SOURCES

FLAGS = ("-O2", "-std=c++17", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off", "-w")


def compiler() -> str | None:
    """The C++ compiler on PATH, or None: nothing can then be emulated."""
    return next((found for name in ("g++", "c++", "clang++") if (found := shutil.which(name))), None)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The emulated module, compiled at first use and cached.

    Raises
    ------
    ValueError
        If there is no C++ compiler, or it refuses the source.
    """
    program = compiler()
    if program is None:
        raise ValueError("emulation: expected a C++ compiler (g++ or clang++) on PATH, found none")
    digest = digest_of(*(FOLDER / name for name in HOST_SOURCES), words=(program, *FLAGS))

    def build(path: Path) -> None:
        command = [program, *FLAGS, str(FOLDER / "emulate.cpp"), "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"emulation: {program} refuses emulate.cpp: {done.stderr.strip()[:2000]}")

    loaded = ctypes.CDLL(str(cached(f"emulate-{digest}.so", build)))
    for name, block in KERNELS.items():
        size = getattr(loaded, f"sizeof_{name}")()
        if size != block.itemsize:
            raise ValueError(
                f"{name}: expected an argument block of {size} bytes, arguments.py has {block.itemsize}"
            )
        getattr(loaded, f"emulate_{name}").restype = None
    return loaded


def run(launches: Launch | Iterable[Launch], *, reverse: bool = False) -> None:
    """Run launches in order, their addresses being addresses of this process.

    ``reverse`` runs threads and blocks in the opposite order: a result that changes depends on the order.
    """
    for launch in [launches] if isinstance(launches, Launch) else launches:
        call(launch.kernel, launch.grid, launch.block, launch.arguments, reverse=reverse)


def call(
    kernel: str,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arguments: tuple[Any, ...],
    *,
    reverse: bool = False,
) -> None:
    """Run one kernel: what a fake device calls when a launch's turn has come."""
    entry = getattr(library(), f"emulate_{kernel}")
    sizes = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
    packed = ctypes.create_string_buffer(arguments[0].tobytes())
    entry(*sizes, packed, int(reverse))
