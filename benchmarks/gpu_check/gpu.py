"""The GPU that the stages run on, and clocks for what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from livecut.engine.cuda import Device, Graph, Stream, find_gpu, open_device
from livecut.engine.errors import BackendError, DeviceUnavailable
from livecut.kernels.cuda import CompiledModule, get_module

from .results import NO_DEVICE, NotRun


def open_gpu() -> Device:
    """The first GPU: through pycuda, or where it is not installed through libcuda alone.

    Raises
    ------
    NotRun
        If there is none that could be used.
    """
    try:
        find_gpu()
    except BackendError as error:
        raise NotRun(f"{NO_DEVICE}: {error}") from None
    try:
        return open_device()
    except DeviceUnavailable:
        from .ctypes_device import CtypesDevice

        return CtypesDevice()


@contextmanager
def gpu(settings: dict[str, Any]) -> Iterator[Device]:
    """The GPU, active on this thread; closed at the end."""
    device = settings.get("device") or open_gpu()  # tests bring their own
    try:
        with device.activate():
            yield device
    finally:
        device.close()


def kernels_for(device: Device, settings: dict[str, Any]) -> CompiledModule:
    """The CUDA kernels for this GPU; NotRun if nothing here compiles them."""
    if settings.get("module"):
        return settings["module"]
    try:
        return get_module(device.compute_capability, device.driver)
    except ValueError as error:
        raise NotRun(str(error)) from None


def wall_ms(call: Callable[[], object], stream: Stream, count: int, warm_up: int = 5) -> list[float]:
    """Milliseconds of ``count`` calls, each with the wait for what it queued."""
    for _ in range(warm_up):
        call()
    stream.synchronize()
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        stream.synchronize()
        samples.append(1e3 * (time.perf_counter() - started))
    return samples


def device_ms(
    device: Device,
    stream: Stream,
    call: Callable[[], object],
    count: int,
    repeat: int = 1,
    captured: bool = True,
) -> list[float]:
    """Milliseconds of one call by the device's clock: ``count`` samples of ``repeat`` calls each.

    The calls are captured into a graph, so that the device waits for nobody: launching from Python takes
    longer than most kernels run. ``captured`` False queues them one by one, for what cannot be captured.
    One run goes before each sample, untimed: an idle device would stamp the start at once and then wait for
    the launch.
    """
    graph = capture(stream, call, repeat) if captured else None
    start, end = device.event(timing=True), device.event(timing=True)

    def run() -> None:
        if graph is not None:
            graph.launch(stream)
        else:
            for _ in range(repeat):
                call()

    samples = []
    try:
        for _ in range(3):
            run()
        for _ in range(count):
            run()
            stream.record(start)
            run()
            stream.record(end)
            end.synchronize()
            samples.append(end.milliseconds_since(start) / repeat)
    finally:
        stream.synchronize()
        for each in (graph, start, end):
            if each is not None:
                each.free()
    return samples


def capture(stream: Stream, call: Callable[[], object], repeat: int = 1) -> Graph:
    """``repeat`` calls as one graph."""
    call()  # what is put off until the first run may not be in a graph
    stream.synchronize()
    stream.begin_capture()
    try:
        for _ in range(repeat):
            call()
    except BaseException:
        with suppress(BackendError):
            stream.end_capture().free()
        raise
    return stream.end_capture()


def clocks() -> str:
    """The GPU's clocks, temperature, and what holds it back, as its driver says; empty where it does not."""
    from livecut.engine.bench.sensors.base import NotReadable, Sensor
    from livecut.engine.bench.sensors.jetson import Tegra
    from livecut.engine.bench.sensors.nvml import Nvml

    told: list[str] = []
    kinds: tuple[type[Sensor], ...] = (Nvml, Tegra)
    for kind in kinds:
        try:
            sensor = kind(Path("/"))
        except NotReadable:
            continue
        reading = sensor.read()
        sensor.close()
        told += [f"{name} {mhz:.0f} MHz" for name, mhz in reading.mhz.items()]
        told += [f"{name} {celsius:.0f} C" for name, celsius in reading.celsius.items()]
        told += reading.reasons
    return ", ".join(told)


def many(settings: dict[str, Any], count: int) -> int:
    """``count`` samples, a tenth of them in a quick run, and three on a GPU made of software."""
    if settings.get("small"):
        return 3
    return max(3, count // 10) if settings.get("quick") else count
