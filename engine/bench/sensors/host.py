"""What Linux tells of any machine: temperatures, clocks, and how often it was slowed down."""

from __future__ import annotations

from pathlib import Path

from .base import NotReadable, Reading, Sensor, number_of, text_of


class Host(Sensor):
    """Thermal zones, clocks of the cores, throttle counters of the processor, CPU quota of the cgroup."""

    name = "host"
    measures = "temperatures, clocks, throttle counters"

    def __init__(self, root: Path = Path("/")) -> None:
        system = root / "sys"
        self._zones = self._named_zones(system)
        cores = sorted((system / "devices/system/cpu").glob("cpu[0-9]*"))
        self._clocks = [core / "cpufreq/scaling_cur_freq" for core in cores]
        self._clocks = [clock for clock in self._clocks if number_of(clock) is not None]
        self._cpuinfo = root / "proc/cpuinfo"
        self._throttles = [
            counter
            for core in cores
            for counter in sorted((core / "thermal_throttle").glob("*_throttle_count"))
        ]
        self._quota = _cgroup_statistics(root)
        reading = self.read()
        if not (reading.celsius or reading.mhz or reading.throttled):
            raise NotReadable("this system shows no temperatures, clocks or throttle counters")

    @staticmethod
    def _named_zones(system: Path) -> dict[str, Path]:
        zones: dict[str, Path] = {}
        for zone in sorted((system / "class/thermal").glob("thermal_zone*")):
            kind = text_of(zone / "type") or zone.name
            name = kind if kind not in zones else f"{kind} {zone.name.removeprefix('thermal_zone')}"
            if number_of(zone / "temp") is not None:
                zones[name] = zone / "temp"
        if zones:
            return zones
        for sensor in sorted((system / "class/hwmon").glob("hwmon*/temp1_input")):
            zones[text_of(sensor.with_name("name")) or sensor.parent.name] = sensor
        return zones

    def read(self) -> Reading:
        celsius = {name: number_of(path) for name, path in self._zones.items()}
        throttled: dict[str, float] = {}
        for counter in self._throttles:
            kind = counter.name.removesuffix("_throttle_count")
            key = f"{kind} throttle events"
            throttled[key] = throttled.get(key, 0.0) + (number_of(counter) or 0.0)
        if self._quota is not None:
            throttled["cgroup quota stops"] = _quota_stops(self._quota)
        return Reading(
            celsius={name: value / 1e3 for name, value in celsius.items() if value is not None},
            mhz=self._mhz(),
            throttled=throttled,
        )

    def _mhz(self) -> dict[str, float]:
        """Mean and lowest clock: a machine of 128 cores needs no 128 columns."""
        values = [number_of(clock) for clock in self._clocks]
        found = [value / 1e3 for value in values if value is not None]
        if not found:
            lines = (text_of(self._cpuinfo) or "").splitlines()
            found = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
        return {"cores, mean": sum(found) / len(found), "cores, lowest": min(found)} if found else {}


def _cgroup_statistics(root: Path) -> Path | None:
    """``cpu.stat`` of this process's group; in a container the group is often the mount's root."""
    lines = (text_of(root / "proc/self/cgroup") or "").splitlines()
    own = next((line.split(":", 2)[2] for line in lines if line.startswith("0::")), "/")
    mount = root / "sys/fs/cgroup"
    for folder in (mount / own.strip("/"), mount, mount / "cpu", mount / "cpu,cpuacct"):
        if "nr_throttled" in (text_of(folder / "cpu.stat") or ""):
            return folder / "cpu.stat"
    return None


def _quota_stops(path: Path) -> float:
    for line in (text_of(path) or "").splitlines():
        if line.startswith("nr_throttled "):
            return float(line.split()[1])
    return 0.0
