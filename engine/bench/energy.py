"""Power before anything runs, so that what a run adds can be told from what the machine draws anyway."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from .sampler import Sampler, Window
from .sensors import Sensor


def idle_power(sensors: Sequence[Sensor], seconds: float) -> dict[str, Any] | None:
    """Mean watts while this process waits; None where no sensor measures power, or ``seconds`` is 0."""
    readings = [sensor.read() for sensor in sensors]
    if seconds <= 0 or not any(reading.watts or reading.joules for reading in readings):
        return None
    sampler = Sampler(sensors)
    with sampler:
        threading.Event().wait(seconds)
    return mean_power(sampler)


def mean_power(sampler: Sampler) -> dict[str, Any]:
    """Mean watts from a sampler's first look to its last."""
    first, last = sampler.samples[0].seconds, sampler.samples[-1].seconds
    window = Window(sampler, first, last)
    watts, rails = window.total_watts()
    return {"seconds": last - first, "watts": watts, "watts_of": rails, "rails_watts": window.watts()}
