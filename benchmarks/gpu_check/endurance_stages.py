"""Ten thousand frames, and every fault that can be made on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livecut.engine.cuda import Device
from livecut.engine.errors import BackendError, DeviceLost, OutOfDeviceMemory, WrongDevice
from livecut.kernels.cuda import Launch, get_module

from .cases import RefineCase
from .frame_stages import frames, opened
from .gpu import kernels_for, open_gpu
from .machines import DeviceMachine
from .numerics import check_refine
from .results import Check, NotRun, Report

MIB = 1 << 20
FRAMES = 10_000
DEVICE_SLACK, HOST_SLACK = 2 * MIB, 16 * MIB
KEPT_SLACK = 32 * MIB
"""Drivers, and PyTorch, keep some of what is freed for next time."""


def leaks(report: Report, settings: dict[str, Any]) -> None:
    """Memory of device and host after warm-up and after 10,000 frames, and after everything is given back."""
    count = settings.get("frames") or (FRAMES // 10 if settings.get("quick") else FRAMES)
    import psutil

    process = psutil.Process()
    with opened(report, settings) as here:
        here.paths(frames(settings)["1080p"], 3).free()  # has run: what is loaded once and kept is no leak
        before_paths = here.device.memory_info()[0]
        paths = here.paths(frames(settings)["1080p"], 3)
        try:
            for _ in range(max(10, count // 10)):
                paths.next()
            paths.drain()
            free, resident = [here.device.memory_info()[0]], [process.memory_info().rss]
            for _ in range(2):
                for _ in range(count // 2):
                    paths.next()
                paths.drain()
                free.append(here.device.memory_info()[0])
                resident.append(process.memory_info().rss)
        finally:
            paths.free()
        kept = before_paths - here.device.memory_info()[0]
        shared = here.device.integrated
    report.facts["frames"] = count
    # A leak takes as much from each half. What another program takes or gives back is in one of them.
    lost = 2 * min(free[0] - free[1], free[1] - free[2])
    grown = resident[2] - resident[0]
    for what, value, limit, is_told in (
        (f"device memory lost in {count} frames, MiB", lost, DEVICE_SLACK, shared),
        (f"host memory grown in {count} frames, MiB", grown, HOST_SLACK, False),
        ("device memory kept after everything was freed, MiB", kept, KEPT_SLACK, shared),
    ):
        if is_told:  # memory that is the whole system's: a fact, and no verdict
            report.facts[what] = round(value / MIB, 2)
        else:
            report.checks.append(Check(what, value <= limit, value / MIB, limit / MIB))


def faults(report: Report, settings: dict[str, Any]) -> None:
    """Each fault gives one clear error of its own class, and afterwards a frame comes out right."""
    make = settings.get("open_device") or open_gpu
    device = make()
    report.facts["gpu"] = device.name
    image = kernels_for(device, settings).image
    device.close()
    for name, provoke, wanted in (
        ("out of memory", _out_of_memory, OutOfDeviceMemory),
        ("a damaged module", _damaged_module, BackendError),
        ("a module for another GPU", _foreign_module, WrongDevice),
        ("an illegal address: the device is lost", _illegal_address, DeviceLost),
    ):
        try:
            said, right_kind = _provoked(make, image, provoke, wanted)
        except NotRun as why:
            report.facts[name] = f"not run: {why}"
            continue
        report.checks.append(Check(f"{name}: {wanted.__name__}", right_kind, said=said))
        report.checks.append(_still_works(name, make, image))


def _provoked(
    make: Callable[[], Device], image: bytes, provoke: Callable[[Device, bytes], None], wanted: type
) -> tuple[str, bool]:
    try:
        device = make()
    except BackendError as error:
        return f"the device cannot be opened: {error}", False
    try:
        with device.activate():
            provoke(device, image)
    except NotRun:
        raise
    except BackendError as error:
        said = f"{type(error).__name__}: {error}"
        return said, isinstance(error, wanted) and "\n" not in str(error)
    except Exception as error:
        return f"{type(error).__name__}, which is none of livecut's: {error}", False
    finally:
        device.close()
    return "no error at all", False


def _still_works(after: str, make: Callable[[], Device], image: bytes) -> Check:
    """A device opened anew in the same process makes a frame that is right."""
    what = f"after {after}: a new session works"
    try:
        device = make()
        try:
            with device.activate():
                machine = DeviceMachine(device, image)
                outcomes = check_refine(machine, RefineCase("BGR", "BGRA"))
                machine.close()
        finally:
            device.close()
    except Exception as error:
        return Check(what, False, said=f"{type(error).__name__}: {error}")
    return Check(what, all(each.passed for each in outcomes), outcomes[0].error, outcomes[0].limit)


def _out_of_memory(device: Device, image: bytes) -> None:
    device.malloc(device.memory_info()[1] + (1 << 30)).free()


def _damaged_module(device: Device, image: bytes) -> None:
    device.load_module(b"no module" + bytes(64)).unload()


def _foreign_module(device: Device, image: bytes) -> None:
    """A cubin runs on its own major version alone."""
    other = "8.0" if not device.compute_capability.startswith("8.") else "9.0"
    try:
        foreign = get_module(other, device.driver)
    except ValueError as error:
        raise NotRun(str(error)) from None
    if foreign.how.startswith("shipped"):
        raise NotRun("the shipped module holds every GPU")
    device.load_module(foreign.image).unload()


def _illegal_address(device: Device, image: bytes) -> None:
    from livecut.kernels.cuda.arguments import BLUR, block_of

    module, stream = device.load_module(image), device.stream()
    fields = {"from": 16, "to": 16, "rw": 64, "rh": 64, "radius": 1}
    launch = Launch("lc_blur", (2, 8, 1), (32, 8, 1), (block_of(BLUR, fields),))
    stream.launch(module.kernel(launch.kernel), launch.grid, launch.block, launch.arguments)
    stream.synchronize()
