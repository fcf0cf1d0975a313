"""The CUDA kernels on a GPU: their numerics, and their times beside the least that memory allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from livecut.engine.cuda import Device, Module, Stream
from livecut.kernels import fit
from livecut.kernels.cuda import (
    KERNELS,
    Launch,
    Planes,
    memory_bytes,
    picture_bytes,
    preprocess_launch,
    refine_launches,
    smooth_launches,
    work_bytes,
)

from .cases import disc, planes_of
from .copy_stages import FRAMES, bandwidths
from .gpu import device_ms, gpu, kernels_for, many
from .host_stages import against_specification
from .machines import DeviceMachine
from .results import Check, Report, figure

INPUT_WH = (512, 288)
PATHS = (("BGR", "BGR"), ("NV12", "RGBA"), ("NV12", "I420"), ("NV12", "YUVA420"), ("BGR", "ALPHA"))
FLOOR = "bytes over measured memory bandwidth"


def numerics(report: Report, settings: dict[str, Any]) -> None:
    """The whole domain of cases, on the GPU."""
    with gpu(settings) as device:
        module = kernels_for(device, settings)
        report.facts |= {"gpu": device.name, "kernels": module.how, "bytes": len(module.image)}
        machine = DeviceMachine(device, module.image)
        try:
            report.checks += against_specification(machine, settings)
            left = ", ".join(sorted(set(KERNELS) - machine.ran))
            report.checks.append(Check("every kernel has been run", not left, said=left))
        finally:
            machine.close()


def times(report: Report, settings: dict[str, Any]) -> None:
    """Device time of each kernel in each frame size."""
    with gpu(settings) as device:
        compiled = kernels_for(device, settings)
        report.facts |= {"gpu": device.name, "kernels": compiled.how}
        stream, module = device.stream(), device.load_module(compiled.image)
        try:
            rate = float(np.median(bandwidths(device, stream, settings)["memory"]))
            frames = {"small": (97, 61)} if settings.get("small") else FRAMES
            for name, size_wh in frames.items():
                for format, output in PATHS:
                    label = f"{name} {format} to {output}"
                    _time_path(report, settings, device, stream, module, label, format, output, size_wh, rate)
        finally:
            stream.synchronize()
            stream.free()
            module.unload()


def _time_path(
    report: Report, settings: dict[str, Any], device: Device, stream: Stream, module: Module, label: str,
    format: str, output: str, size_wh: tuple[int, int], rate: float,
) -> None:  # fmt: skip
    width, height = input_wh = settings.get("size_wh") or INPUT_WH
    geometry = fit(size_wh, input_wh)
    rng = np.random.default_rng(1)
    taken = []

    def take(nbytes: int, content: np.ndarray | None = None) -> int:
        memory = device.malloc(nbytes)
        taken.append(memory)
        staged = device.page_locked((nbytes,), np.uint8)
        if content is not None:
            staged[:] = content
        stream.copy_in(memory.pointer, staged)
        stream.synchronize()
        return memory.pointer

    try:
        pixels = np.concatenate([plane.reshape(-1) for plane in planes_of(rng, format, size_wh)])
        frame = Planes.packed(take(pixels.size, pixels), format, size_wh)
        out = Planes.packed(take(picture_bytes(output, size_wh)), output, size_wh)
        small, inputs = take(3 * width * height), take(12 * width * height)
        alpha = take(4 * width * height, disc(input_wh).reshape(-1).view(np.uint8))
        background = (0, 177, 64) if output in ("BGR", "I420") else None
        launches: list[Launch] = [
            preprocess_launch(frame, format=format, geometry=geometry, out=inputs, small=small),
            *refine_launches(
                frame, alpha, format=format, geometry=geometry, output=output, out=out, small=small,
                work=take(work_bytes(geometry.roi[2:])), background=background,
            ),
        ]  # fmt: skip
        if output == "BGR":
            smoothed, memory = take(4 * width * height), take(memory_bytes(input_wh))
            launches[1:1] = smooth_launches(
                alpha, small_wh=input_wh, small=small, out=smoothed, memory=memory
            )
        for launch in launches:
            kernel = module.kernel(launch.kernel)

            def call(kernel: Any = kernel, each: Launch = launch) -> None:
                stream.launch(kernel, each.grid, each.block, each.arguments, each.shared_bytes)

            samples = device_ms(device, stream, call, many(settings, 50), repeat=many(settings, 20))
            floor = launch.floor_bytes / rate / 1e3
            micro = [1e3 * ms for ms in samples]
            what = f"{label}: {launch.kernel}"
            report.figures.append(figure(what, "us", micro, floor=floor, floor_what=FLOOR))
    finally:
        stream.synchronize()
        for block in taken:
            block.free()
