"""How many threads this process should use: the cores it may run on, less what its cgroup does not grant."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_cpus(root: str | Path = "/") -> int:
    """Cores this process may use: its affinity mask, capped by the CPU quota of its cgroup (version 1 or 2).

    A container with a quota of 1.5 cores on a machine with 64 gets 2: threads beyond the quota only make the
    kernel stop all of them for part of every period, which is seen as late frames.

    Parameters
    ----------
    root : path, optional
        Where ``proc`` and ``sys`` are found; for tests.
    """
    cores = len(affinity()) or 1
    quota = cgroup_quota(root)
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def affinity() -> frozenset[int]:
    """Cores the scheduler may put this process on."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return frozenset(range(os.cpu_count() or 1))


def affinity_is_restricted() -> bool:
    """Whether this process may not run on every core of the machine."""
    return len(affinity()) < (os.cpu_count() or 1)


def cgroup_quota(root: str | Path = "/") -> float | None:
    """Cores granted by the tightest CPU quota from this process's cgroup upwards; None without a quota."""
    root = Path(root)
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _along(root / "sys/fs/cgroup", path, _quota_v2)
            quotas += _along(root / "sys/fs/cgroup/unified", path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _along(root / "sys/fs/cgroup" / controllers, path, _quota_v1)
            quotas += _along(root / "sys/fs/cgroup/cpu", path, _quota_v1)
    return min(quotas, default=None)


def _along(mount, path, read):
    """Every quota between the mount and the process's own group. In a container the path may lie outside the
    mount, whose root is then the group itself: folders that do not exist are passed over."""
    group = mount / path.strip("/")
    folders = [group, *(parent for parent in group.parents if parent == mount or mount in parent.parents)]
    return [quota for folder in folders if (quota := read(folder)) is not None]


def _quota_v2(folder):
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder):
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
