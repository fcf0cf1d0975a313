"""NVRTC through ctypes: compiles the kernels where there is a driver but no nvcc."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

from .sources import FOLDER, HEADERS, MAIN

_NAMES = {13: "libnvrtc.so.13", 12: "libnvrtc.so.12", 11: "libnvrtc.so.11.2"}
_FOLDERS = ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "torch/lib")  # of pip packages


def candidates(most: int = 0) -> Iterator[str]:
    """Names and paths under which libnvrtc may be found, the newest first, up to major version ``most``."""
    folders = [Path(entry) / part for entry in sys.path if entry for part in _FOLDERS]
    folders += sorted(Path("/usr/local").glob("cuda*/lib64"))
    for major, name in _NAMES.items():
        if most and major > most:
            continue
        yield name
        yield from (str(at / name) for at in folders if (at / name).is_file())


class Nvrtc:
    """The library, loaded.

    Parameters
    ----------
    most : int
        Newest major version to take: a driver loads nothing of a newer CUDA. 0 takes any.

    Raises
    ------
    ValueError
        If it is nowhere to be found.
    """

    def __init__(self, most: int = 0) -> None:
        for each in candidates(most):
            try:
                self._library = ctypes.CDLL(each)
            except OSError:
                continue
            self.path = each
            break
        else:
            package = "nvidia-cuda-nvrtc" + (f"-cu{most}" if most in (11, 12) else "")
            raise ValueError(f"NVRTC: expected libnvrtc for this driver, found none; pip install {package}")
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self.version = (major.value, minor.value)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            self._library.nvrtcGetErrorString.restype = c_char_p
            words = self._library.nvrtcGetErrorString(code).decode()
            raise ValueError(f"NVRTC {name}: expected success, got {words}")

    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities it compiles for, ascending: ``("7.5", "8.0", ...)``."""
        count = c_int()
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        codes = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", codes)
        return tuple(f"{code // 10}.{code % 10}" for code in sorted(codes))

    def compile(self, compute_capability: str) -> bytes:
        """The kernels as a cubin, or as PTX for a GPU newer than this NVRTC.

        Raises
        ------
        ValueError
            If the GPU is older than what this NVRTC compiles for, or the source does not compile.
        """
        known = self.capabilities()
        target = tuple(int(part) for part in compute_capability.split("."))
        older = [each for each in known if tuple(int(part) for part in each.split(".")) <= target]
        if not older:
            raise ValueError(
                f"compute_capability: expected {known[0]} or later for NVRTC {self.version[0]}, "
                f"got {compute_capability}"
            )
        exact = older[-1] == compute_capability
        architecture = ("sm_" if exact else "compute_") + older[-1].replace(".", "")
        options = [b"-std=c++17", f"-arch={architecture}".encode()]
        names = (c_char_p * len(HEADERS))(*(name.encode() for name in HEADERS))
        texts = (c_char_p * len(HEADERS))(*((FOLDER / name).read_bytes() for name in HEADERS))
        program = c_void_p()
        main = (FOLDER / MAIN).read_bytes()
        self._call("nvrtcCreateProgram", byref(program), main, MAIN.encode(), len(HEADERS), texts, names)
        try:
            flags = (c_char_p * len(options))(*options)
            if self._library.nvrtcCompileProgram(program, len(options), flags):
                log = self._text(program, "ProgramLog")[:2000].decode()
                raise ValueError(f"NVRTC: expected {MAIN} to compile, got {log}")
            return self._text(program, "CUBIN" if exact else "PTX")
        finally:
            self._library.nvrtcDestroyProgram(byref(program))

    def _text(self, program: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._call(f"nvrtcGet{what}Size", program, byref(size))
        held = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, held)
        return held.raw
