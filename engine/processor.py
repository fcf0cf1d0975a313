"""What the processor can do that decides which precision is fastest. Standard library only."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

_INT8 = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI"}
"""Linux's flag for instructions that multiply bytes and add up in 32 bits -> their name."""


@lru_cache(maxsize=1)
def int8_instructions() -> str:
    """Name of the instructions that make INT8 faster than float here; empty where there are none, or none
    that anybody has measured (Arm), or the system does not say (not Linux).

    Without them products of bytes are added up in 16 bits, which is hardly faster and can saturate.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    flags = next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())
    return next((name for flag, name in _INT8.items() if flag in flags), "")
