"""One builder at a time: a lock between processes that ends with the process that holds it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.2


class Cancelled(Exception):
    """The wait or the build was given up because it was asked to stop."""


@contextmanager
def locked(
    path: Path, stop: threading.Event | None = None, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the lock file ``path``; another process or thread that holds it is waited for.

    The kernel frees the lock when its holder ends, however it ends, so there are no stale locks. The file
    itself stays: removing it would let two processes lock two files of one name.

    Parameters
    ----------
    stop : threading.Event, optional
        Gives the wait up: Cancelled is raised.
    waiting : callable, optional
        Called once if the lock is held by another.

    Raises
    ------
    OSError
        If the file cannot be made: a folder that is read-only, a disk that is full.
    """
    stop = stop or threading.Event()
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        first = True
        while not _try_lock(handle):
            if first and waiting is not None:
                waiting()
            first = False
            if stop.wait(POLL_SECONDS):
                raise Cancelled
        yield
    finally:
        os.close(handle)  # and with it the lock


def _try_lock(handle: int) -> bool:
    try:
        import fcntl
    except (
        ImportError
    ):  # Windows: two processes then build the same engine, and the second replaces the first
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
