"""Comparisons and measurements that say what went wrong."""

import sys
import threading
import tracemalloc

import numpy as np


def assert_arrays_close(actual, expected, atol=0.0):
    """Equal shapes, no value further apart than ``atol``; a failure shows the worst place and both values."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes differ: {actual.shape}, expected {expected.shape}"
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    difference[np.isnan(actual.astype(np.float64)) != np.isnan(expected.astype(np.float64))] = np.inf
    difference = np.nan_to_num(difference, nan=0.0, posinf=np.inf)
    if not difference.size or difference.max() <= atol:
        return
    worst = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    off = int((difference > atol).sum())
    raise AssertionError(
        f"worst difference {difference[worst]:g} at {worst}: {actual[worst]}, expected {expected[worst]}; "
        f"{off} of {difference.size} values are further apart than {atol:g}"
    )


def peak_bytes(call):
    """Most memory that Python and NumPy held at once, beyond what they held before, during one ``call``."""
    call()  # what is made once may be made now
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def lets_other_threads_run(call):
    """Whether another Python thread gets to run during ``call``.

    The interpreter is told not to switch threads by itself, so the other thread only runs when the call gives
    up the GIL. One call may end before the other thread has woken up, so there are many.
    """
    go, ran = threading.Event(), threading.Event()

    def other():
        go.wait()
        ran.set()

    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(1000)
    try:
        go.set()
        has_run = False
        for _ in range(2000):
            call()
            has_run = ran.is_set()
            if has_run:
                break
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    return has_run
