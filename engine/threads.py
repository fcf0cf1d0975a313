"""Threads of this process: how many it should use, and how soon one that wakes gets the interpreter."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SWITCH_SECONDS = 0.0005
_lock = threading.Lock()
_streams = 0
_interval_before = 0.0
_we_froze = False


@contextmanager
def prompt_interpreter() -> Iterator[None]:
    """While any live stream runs, keep the interpreter from making a frame late.

    Two things of Python's can each cost a frame at 60 a second. A thread that wakes waits up to 5 ms for one
    that computes in Python, such as a progress bar being drawn: half a millisecond is enough. (It costs some
    10 microseconds a frame where tiny frames keep every thread busy, so files are streamed without.) A full
    garbage collection looks at everything imported, 25 ms on a slow core: what exists now is set aside until
    the last stream ends, so that only what streams themselves leave behind is looked at.
    """
    global _streams, _interval_before, _we_froze
    with _lock:
        _streams += 1
        if _streams == 1:
            _interval_before = sys.getswitchinterval()
            sys.setswitchinterval(min(_interval_before, SWITCH_SECONDS))
            _we_froze = gc.get_freeze_count() == 0  # else the application has set things aside itself
            if _we_froze:
                gc.freeze()
    try:
        yield
    finally:
        with _lock:
            _streams -= 1
            if _streams == 0:
                sys.setswitchinterval(_interval_before)
                if _we_froze:
                    gc.unfreeze()


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
