"""Power rails of Jetson boards: the INA3221 chips, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

from .base import NotReadable, Reading, Sensor, number_of, text_of

_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN")
"""Rails that feed the whole board, by the names of the carrier boards that have one."""


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
