"""NVIDIA GPUs through NVML (package nvidia-ml-py): power, energy, temperature, clocks, why they are down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """The GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, all without it.

    What a device does not support (the energy counter before Volta, most figures of vGPUs and of Jetson) is
    left out of its readings.
    """

    name = "nvml"
    measures = "NVIDIA GPUs: board power, energy counter, temperature, clocks, reasons of slowdown, memory"

    def __init__(self, root: Path = Path("/"), *, library: Any = None) -> None:
        self._nvml = library or _library()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise NotReadable(f"NVML does not start: {error}") from None
        self._devices = dict(self._visible())
        if not self._devices:
            self.close()
            raise NotReadable("the driver shows no GPU to this process")

    def _visible(self) -> list[tuple[str, Any]]:
        nvml = self._nvml
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            names = {str(index), str(self._ask(nvml.nvmlDeviceGetUUID, handle))}
            chosen = [word.strip() for word in wanted.split(",")] if wanted is not None else None
            if chosen is None or any(
                word and any(name.startswith(word) for name in names) for word in chosen
            ):
                found.append((f"gpu{index}", handle))
        return found

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None

    def read(self) -> Reading:
        nvml = self._nvml
        watts, joules, celsius, mhz, memory = {}, {}, {}, {}, {}
        reasons: list[str] = []
        # Drivers of all ages answer to the old name; packages may one day only have the new one.
        why = getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
        why = why or nvml.nvmlDeviceGetCurrentClocksEventReasons
        for name, handle in self._devices.items():
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
            reasons += [f"{name}: {meaning}" for bit, meaning in REASONS.items() if bits & bit]
        return Reading(
            watts=watts, joules=joules, celsius=celsius, mhz=mhz, memory_mb=memory, reasons=tuple(reasons)
        )

    def describe(self) -> list[dict[str, Any]]:
        """Each GPU for the machine's description; None stands for what the driver does not say."""
        nvml, told = self._nvml, []
        for name, handle in self._devices.items():
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


def describe_gpus(library: Any = None) -> list[dict[str, Any]]:
    """The visible GPUs; empty where NVML cannot be used."""
    try:
        sensor = Nvml(library=library)
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


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
