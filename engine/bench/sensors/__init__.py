"""What this machine tells of power, temperature, clocks and throttling; each sensor where it can be read."""

from __future__ import annotations

from pathlib import Path

from .base import NotReadable, Reading, Sensor

__all__ = ["NotReadable", "Reading", "Sensor", "open_sensors"]


def open_sensors(root: str | Path = "/") -> tuple[list[Sensor], dict[str, str]]:
    """Open every kind of sensor.

    Parameters
    ----------
    root : path
        Where ``sys`` and ``proc`` are found; for tests.

    Returns
    -------
    list of Sensor
        Those that can be read here.
    dict
        The others by name, with the reason why they cannot.
    """
    from .host import Host
    from .jetson import Ina3221, Tegra
    from .nvml import Nvml
    from .rapl import Rapl

    found: list[Sensor] = []
    missing: dict[str, str] = {}
    for kind in (Host, Rapl, Ina3221, Tegra, Nvml):
        try:
            found.append(kind(Path(root)))
        except NotReadable as reason:
            missing[kind.name] = str(reason)
    return found, missing
