"""Copies between host and device, and the bandwidths that are the floors of everything else."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from livecut.engine.cuda import Device, Stream
from livecut.kernels.cuda import picture_bytes

from .gpu import device_ms, gpu, many, wall_ms
from .results import Check, Report, figure, ratio

FRAMES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
BIG_BYTES = 256 << 20
LINKS = "a copy of 256 MiB from pinned memory"


def bandwidths(device: Device, stream: Stream, settings: dict[str, Any]) -> dict[str, list[float]]:
    """GB/s into the device, out of it, and of its own memory (read and written), by large copies."""
    size = BIG_BYTES if not settings.get("small") else 1 << 16
    host = device.page_locked((size,), np.uint8)
    one, other = device.malloc(size), device.malloc(size)
    count = many(settings, 20)
    try:
        times = {
            "in": device_ms(device, stream, lambda: stream.copy_in(one.pointer, host), count),
            "out": device_ms(device, stream, lambda: stream.copy_out(host, one.pointer), count),
            "memory": device_ms(device, stream, lambda: stream.copy(other.pointer, one.pointer, size), count),
        }
    finally:
        stream.synchronize()
        one.free()
        other.free()
    moved = {"in": size, "out": size, "memory": 2 * size}
    return {name: [moved[name] / ms / 1e6 for ms in samples] for name, samples in times.items()}


def copies(report: Report, settings: dict[str, Any]) -> None:
    """A frame of each size in and out, from pinned and from pageable memory."""
    with gpu(settings) as device:
        stream = device.stream()
        try:
            _copies(report, settings, device, stream)
        finally:
            stream.synchronize()
            stream.free()


def _copies(report: Report, settings: dict[str, Any], device: Device, stream: Stream) -> None:
    rates = bandwidths(device, stream, settings)
    report.facts["gpu"] = device.name
    for name, what in (("in", "host to device"), ("out", "device to host"), ("memory", "device memory")):
        report.figures.append(figure(f"bandwidth, {what}", "GB/s", rates[name]))
    rng = np.random.default_rng(0)
    for name, size_wh in FRAMES.items():
        nbytes = picture_bytes("BGR", size_wh)
        frame = rng.integers(0, 256, nbytes, dtype=np.uint8)
        pinned, back = device.page_locked((nbytes,), np.uint8), device.page_locked((nbytes,), np.uint8)
        pinned[:] = frame
        memory = device.malloc(nbytes)
        count = many(settings, 200)

        def copy_in(array: np.ndarray, to: int = memory.pointer) -> None:
            stream.copy_in(to, array)

        try:
            fast = wall_ms(partial(copy_in, pinned), stream, count)
            stream.copy_out(back, memory.pointer)
            stream.synchronize()
            report.checks.append(Check(f"{name}: comes back as it went in", bool((back == frame).all())))
            slow = wall_ms(partial(copy_in, frame), stream, count)
        finally:
            stream.synchronize()
            memory.free()
        floor = nbytes / float(np.median(rates["in"])) / 1e6
        rest = {"floor": floor, "floor_what": LINKS}
        report.figures.append(figure(f"{name} BGR in, pinned", "ms", fast, **rest))
        report.figures.append(figure(f"{name} BGR in, pageable", "ms", slow, **rest))
        report.figures.append(ratio(f"{name}: pageable over pinned", slow, fast))
