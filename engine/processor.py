"""What the kernel says of the processor; it decides which precision is fastest. Standard library only."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

_INT8 = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI"}
"""Linux's flag for instructions that multiply bytes and add up in 32 bits -> their name."""
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def cpuinfo(key: str) -> str:
    """The first core's value of ``key`` in Linux's ``/proc/cpuinfo``; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")


def cpu_model() -> str | None:
    """The chip's name as the kernel gives it."""
    return cpuinfo("model name") or cpuinfo("Model") or platform.processor() or None


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the chip, by the kernel's names; empty where they cannot be read."""
    return frozenset((cpuinfo("flags") or cpuinfo("Features")).split())


def has_bfloat16() -> bool:
    """Whether the chip computes in bfloat16 itself; one that only emulates it is faster in float32."""
    return not cpu_flags().isdisjoint(_BFLOAT16)


def int8_instructions() -> str:
    """Name of the instructions that make INT8 faster than float here; empty where there are none, or none
    that anybody has measured (Arm), or the system does not say (not Linux).

    Without them products of bytes are added up in 16 bits, which is hardly faster and can saturate.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    flags = cpu_flags()
    return next((name for flag, name in _INT8.items() if flag in flags), "")
