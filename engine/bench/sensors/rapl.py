"""Energy counters of Intel and AMD processors, as Linux's powercap shows them (RAPL)."""

from __future__ import annotations

from pathlib import Path

from .base import NotReadable, Reading, Sensor, number_of, text_of


class Rapl(Sensor):
    """Joules of each processor package, and of its memory where that is counted apart."""

    name = "rapl"
    measures = "processor packages and memory, energy counters of powercap"

    def __init__(self, root: Path = Path("/")) -> None:
        folder = root / "sys/class/powercap"
        self._zones: dict[str, Path] = {}
        forbidden = []
        for zone in sorted(folder.glob("intel-rapl:*")):
            label = text_of(zone / "name")
            if label is None or not (label.startswith("package") or label == "dram"):
                continue  # cores and graphics are part of the package, psys of everything
            rail = label if zone.name.count(":") == 1 else f"{label}-{zone.name.split(':')[1]}"
            if number_of(zone / "energy_uj") is None:
                forbidden.append(rail)
            else:
                self._zones[rail] = zone
        if not self._zones:
            if forbidden:
                raise NotReadable("only root may read the energy counters under /sys/class/powercap")
            raise NotReadable("the kernel shows no energy counters under /sys/class/powercap")
        self._last: dict[str, float] = {}
        self._wrapped: dict[str, float] = {}

    def read(self) -> Reading:
        """The counters wrap around within minutes; read them at least once a minute."""
        joules = {}
        for rail, zone in self._zones.items():
            value = number_of(zone / "energy_uj")
            if value is None:
                continue
            if value < self._last.get(rail, 0.0):
                span = number_of(zone / "max_energy_range_uj") or 0.0
                self._wrapped[rail] = self._wrapped.get(rail, 0.0) + span
            self._last[rail] = value
            joules[rail] = (value + self._wrapped.get(rail, 0.0)) / 1e6
        return Reading(joules=joules)
