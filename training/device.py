"""Where a training runs, and at which precision."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager

import torch

from ..engine.processor import has_bfloat16 as cpu_has_bfloat16

log = logging.getLogger("livecut")
DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``: ``auto`` (CUDA if it is there), ``cpu``, ``cuda``, ``cuda:1``.

    Raises
    ------
    ValueError
        If it is none of these, or CUDA was asked for and is not there.
    """
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and (kind != "cuda" or not index.isdigit())):
        raise ValueError(f'device: expected one of {", ".join(DEVICES)}, or cuda:N, got "{name}"')
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device: {name} was asked for, and torch {torch.__version__} finds no CUDA device; "
            "use --device cpu, or a build of torch for this GPU"
        )
    if int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {name} was asked for, and there are {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", int(index or 0))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself; a CPU that emulates it is slower than in float32."""
    if device.type == "cpu":
        return cpu_has_bfloat16()
    return torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device, bfloat16: bool) -> AbstractContextManager[object]:
    """Mixed precision: convolutions in bfloat16 where ``bfloat16``, what needs float32 stays in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16 and has_bfloat16(device))


def describe(device: torch.device, bfloat16: bool) -> str:
    """One line for the log: device and precision, as they are and not as they were asked for."""
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    mixed = bfloat16 and has_bfloat16(device)
    precision = "bfloat16 and float32" if mixed else "float32"
    note = " (bfloat16 was asked for; the device has none)" if bfloat16 and not mixed else ""
    return f"{device.type} ({name}), {precision}{note}"


def prepare(device: torch.device, threads: int) -> None:
    """Set up torch for a run: threads of the CPU, fast convolutions of the GPU."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # a handful of input sizes, each seen thousands of times
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def default_workers(device: torch.device, configured: int) -> int:
    """Processes that make pictures: as configured on a CPU; on a GPU all cores but one, which feeds it."""
    if device.type == "cpu":
        return configured
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(configured, cores - 1)
