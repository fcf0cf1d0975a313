"""Jetson boards: power rails of the INA3221 chips, the GPU's clock, and what holds it down."""

from __future__ import annotations

import re
from pathlib import Path

from .base import NotReadable, Reading, Sensor, number_of, text_of

_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN")
"""Rails that feed the whole board, by the names of the carrier boards that have one."""
_GPU = re.compile(r"gpu|\.g[a-z]\d+b$")
"""A GPU's node under devfreq: ``57000000.gpu``, ``17000000.gv11b``, ``17000000.ga10b``, ``gpu-gpc-0``."""


class Tegra(Sensor):
    """The GPU's clock, over-current events, and throttling by heat; NVML shows none of it on these boards."""

    name = "tegra"
    measures = "Jetson's GPU clock, over-current events and throttling"

    def __init__(self, root: Path = Path("/")) -> None:
        classes = root / "sys/class"
        nodes = sorted((classes / "devfreq").glob("*/cur_freq"))
        self._clocks = {node.parent.name: node for node in nodes if _GPU.search(node.parent.name)}
        self._events = sorted((classes / "hwmon").glob("hwmon*/oc*_event_cnt"))
        self._coolers: list[tuple[str, Path]] = []
        for cooler in sorted((classes / "thermal").glob("cooling_device*/type")):
            kind = text_of(cooler)
            if kind and "throttle" in kind:
                self._coolers.append((kind, cooler.with_name("cur_state")))
        if not (self._clocks or self._events or self._coolers):
            raise NotReadable("no GPU under devfreq, no over-current events: not a Jetson")

    def read(self) -> Reading:
        hertz = {name: number_of(path) for name, path in self._clocks.items()}
        counts: dict[str, float] = {}
        for path in self._events:
            name = f"over-current events, {path.name.removesuffix('_event_cnt')}"
            counts[name] = counts.get(name, 0.0) + (number_of(path) or 0.0)
        return Reading(
            mhz={f"GPU {name}": value / 1e6 for name, value in hertz.items() if value is not None},
            throttled=counts,
            reasons=tuple(kind for kind, path in self._coolers if number_of(path)),
        )


class Ina3221(Sensor):
    """Watts of each labelled rail.

    JetPack 5 and later show the chips as hwmon (volts and amperes by channel), JetPack 4 as iio (power by
    channel). Readable by every user on both.
    """

    name = "ina3221"
    measures = "Jetson's power rails, momentary"

    def __init__(self, root: Path = Path("/")) -> None:
        drivers = root / "sys/bus/i2c/drivers"
        self._hwmon: dict[str, tuple[Path, Path]] = {}
        self._iio: dict[str, Path] = {}
        for label in sorted(drivers.glob("ina3221*/*/hwmon/hwmon*/in*_label")):
            channel = label.name.removeprefix("in").removesuffix("_label")
            current = label.with_name(f"curr{channel}_input")
            rail = text_of(label)
            if rail and current.exists():  # the chip's sum of channels has a label but no rail of its own
                self._hwmon[rail] = (label.with_name(f"in{channel}_input"), current)
        for label in sorted(drivers.glob("ina3221*/*/iio:device*/rail_name_*")):
            channel = label.name.removeprefix("rail_name_")
            rail = text_of(label)
            if rail:
                self._iio[rail] = label.with_name(f"in_power{channel}_input")
        if not self._hwmon and not self._iio:
            raise NotReadable("no INA3221 power sensor: not a Jetson, or its driver is not loaded")

    def read(self) -> Reading:
        watts = {}
        for rail, (volts, amperes) in self._hwmon.items():
            millivolts, milliamperes = number_of(volts), number_of(amperes)
            if millivolts is not None and milliamperes is not None:
                watts[rail] = millivolts * milliamperes / 1e6
        for rail, power in self._iio.items():
            milliwatts = number_of(power)
            if milliwatts is not None:
                watts[rail] = milliwatts / 1e3
        return Reading(watts=watts)

    def total_of(self, rails: list[str]) -> list[str]:
        whole = [rail for rail in rails if rail in _WHOLE]
        return whole or [rail for rail in rails if rail != "NC"]
