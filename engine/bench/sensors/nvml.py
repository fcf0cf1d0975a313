"""NVIDIA GPUs through NVML (package nvidia-ml-py): power, energy, temperature, clocks, why they are down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...cuda.probe import bus_ids
from .base import NotReadable, Reading, Sensor

# What slows a GPU down, by NVML's bits; being idle and clocks set on purpose are no slowing down.
REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


class Nvml(Sensor):
    """The GPU in use: CUDA's first, which every backend takes. Others are not read: their watts are not ours.
    Rails are named by NVML's numbers, as ``nvidia-smi`` shows them.

    What a device does not support (the energy counter before Volta, most figures of vGPUs and of Jetson) is
    left out of its readings.

    Parameters
    ----------
    root : Path
        Not looked at.
    library : module, optional
        In place of pynvml; for tests.
    in_cuda : callable
        PCI bus ids of the GPUs that CUDA shows, in its order.
    """

    name = "nvml"
    measures = "the NVIDIA GPU in use: board power, energy counter, temperature, clocks, slowdown, memory"

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        library: Any = None,
        in_cuda: Callable[[], list[str]] = bus_ids,
    ) -> None:
        self._nvml = library or _library()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise NotReadable(f"NVML does not start: {error}") from None
        count = self._ask(self._nvml.nvmlDeviceGetCount) or 0
        # A GPU that has fallen off its bus, or that this user may not see, is no reason to lose the others.
        found = {index: self._ask(self._nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)}
        handles = {index: handle for index, handle in found.items() if handle is not None}
        order = self._by_address(handles, in_cuda()) or self._by_variable(handles)
        if not order:
            self.close()
            raise NotReadable("the driver shows no GPU to this process")
        self._visible = {f"gpu{index}": handles[index] for index in order}
        self._in_use = f"gpu{order[0]}"

    def _by_address(self, handles: dict[int, Any], in_cuda: list[str]) -> list[int]:
        """Numbers of the GPUs that CUDA shows: it puts the fastest first, NVML goes by the bus."""
        told = {n: self._ask(self._nvml.nvmlDeviceGetPciInfo, handle) for n, handle in handles.items()}
        numbers = {_address(_text(info.busId)): number for number, info in told.items() if info}
        return [numbers[at] for at in map(_address, in_cuda) if at in numbers]

    def _by_variable(self, handles: dict[int, Any]) -> list[int]:
        """Where CUDA cannot be asked: what ``CUDA_VISIBLE_DEVICES`` names, by NVML's numbers; else all."""
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
        if wanted is None:
            return list(handles)
        uuids = {n: str(_text(self._ask(self._nvml.nvmlDeviceGetUUID, each))) for n, each in handles.items()}
        order: list[int] = []
        for word in map(str.strip, wanted.split(",")):
            is_uuid = word.startswith("GPU-")  # CUDA takes the beginning of one, too
            fits = [n for n, uuid in uuids.items() if (uuid.startswith(word) if is_uuid else word == str(n))]
            if not fits:
                break  # as CUDA does
            order += fits
        return order

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None

    def read(self) -> Reading:
        nvml = self._nvml
        name, handle = self._in_use, self._visible[self._in_use]
        watts, joules, celsius, mhz, memory = {}, {}, {}, {}, {}
        # Drivers of all ages answer to the old name; packages may one day only have the new one.
        why = getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
        why = why or nvml.nvmlDeviceGetCurrentClocksEventReasons
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        millijoules = self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        if millijoules is not None:
            joules[name] = millijoules / 1e3
        elif milliwatts is not None:
            watts[name] = milliwatts / 1e3
        degrees = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        if degrees is not None:
            celsius[name] = float(degrees)
        clock = self._ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
        if clock is not None:
            mhz[f"{name}, SM"] = float(clock)
        used = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        if used is not None:
            memory[name] = used.used / 2**20
        bits = self._ask(why, handle) or 0
        reasons = tuple(f"{name}: {meaning}" for bit, meaning in REASONS.items() if bits & bit)
        return Reading(
            watts=watts, joules=joules, celsius=celsius, mhz=mhz, memory_mb=memory, reasons=reasons
        )

    def describe(self) -> list[dict[str, Any]]:
        """The GPUs that this process may use, the one in use first, for the machine's description; what the
        driver does not say is None."""
        nvml, told = self._nvml, []
        for name, handle in self._visible.items():
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
            limit = self._ask(nvml.nvmlDeviceGetPowerManagementLimit, handle)
            capability = self._ask(nvml.nvmlDeviceGetCudaComputeCapability, handle)
            told.append(
                {
                    "id": name,
                    "name": _text(self._ask(nvml.nvmlDeviceGetName, handle)),
                    "memory_mb": round(memory.total / 2**20) if memory else None,
                    "power_limit_watts": limit / 1e3 if limit else None,
                    "compute_capability": ".".join(map(str, capability)) if capability else None,
                    "max_sm_mhz": self._ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
                    "driver": _text(self._ask(nvml.nvmlSystemGetDriverVersion)),
                }
            )
        return told

    def close(self) -> None:
        self._ask(self._nvml.nvmlShutdown)


def describe_gpus(library: Any = None, in_cuda: Callable[[], list[str]] = bus_ids) -> list[dict[str, Any]]:
    """The visible GPUs; empty where NVML cannot be used."""
    try:
        sensor = Nvml(library=library, in_cuda=in_cuda)
    except NotReadable:
        return []
    try:
        return sensor.describe()
    finally:
        sensor.close()


def _library() -> Any:
    try:
        import pynvml
    except ImportError:
        raise NotReadable("the package nvidia-ml-py is not installed (livecut[power])") from None
    return pynvml


def _address(bus_id: str | None) -> tuple[int, ...]:
    """Domain, bus and device: NVML writes the domain with eight digits, CUDA with four."""
    return tuple(int(part.split(".")[0], 16) for part in (bus_id or "").split(":") if part)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
