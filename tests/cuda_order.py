"""Who may touch which bytes when: the memory of the fake GPU, and the order between pieces of work.

Every piece of work says which bytes it reads and writes, and carries a vector clock: for each stream, the
last piece known to be before it. Two touches of the same bytes, one of them a write, with no order between
them are a ``Hazard``, whether or not they would have gone wrong this time.
"""

import ctypes
import random
import threading
from dataclasses import dataclass, field

import numpy as np

from livecut.engine.buffers import aligned_zeros
from livecut.engine.errors import DeviceLost

POISON = 0xFF  # NaN as float32


class Hazard(AssertionError):
    """What a real GPU would turn into a wrong picture now and then."""


@dataclass(eq=False)
class Work:
    """One copy, launch or mark in a stream."""

    label: str
    run: object
    reads: list = field(default_factory=list)  # (start, end) in bytes
    writes: list = field(default_factory=list)
    resource: str = "compute"  # what it occupies: copy-in, compute, copy-out
    source: np.ndarray = None  # the host array of a copy-in
    target: np.ndarray = None  # the host array of a copy-out
    clock: dict = field(default_factory=dict)
    needs: tuple = ()
    stream: object = None
    number: int = 0
    done: bool = False
    snapshot: np.ndarray = None

    def fresh(self):
        """The same again, not yet queued: a graph is launched many times."""
        return Work(self.label, self.run, self.reads, self.writes, self.resource, self.source, self.target)

    def is_after(self, other):
        return other is not self and self.clock.get(other.stream, 0) >= other.number


def overlap(some, others):
    return any(a < d and c < b for a, b in some for c, d in others)


def span(array):
    start = array.ctypes.data
    return (start, start + array.nbytes)


class Memory:
    """Blocks of device memory and page-locked arrays. Addresses are real, so that emulated kernels find them,
    and never used again, so that what is freed is known to be."""

    def __init__(self):
        self.blocks = {}  # pointer -> bytes
        self.host = {}  # address of a page-locked array -> nbytes
        self._freed = []

    def take(self, nbytes):
        block = aligned_zeros((nbytes,), np.uint8, 256)
        block.fill(POISON)
        self.blocks[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, pointer):
        self._freed.append(self.blocks.pop(pointer))

    def array(self, pointer, shape, dtype):
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self.is_alive(pointer, pointer + nbytes):
            raise Hazard(f"{nbytes} bytes at {pointer:#x} are not device memory")
        memory = (ctypes.c_uint8 * nbytes).from_address(pointer)
        return np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)

    def around(self, pointer):
        """The whole block or array that an address lies in, as (start, nbytes)."""
        for start, end in self._alive():
            if start <= pointer < end:
                return start, end - start
        raise Hazard(f"{pointer:#x} is not device memory")

    def _alive(self):
        alive = [(start, start + len(block)) for start, block in list(self.blocks.items())]
        return alive + [(start, start + size) for start, size in list(self.host.items())]

    def is_alive(self, start, end):
        return any(s <= start and end <= e for s, e in self._alive())

    def is_page_locked(self, array):
        start, end = span(array)
        return any(s <= start and end <= s + size for s, size in list(self.host.items()))


class Order:
    """Queues of work, run as late as allowed, and the checks on them."""

    def __init__(self, order, seed):
        self.order, self.memory, self.lost = order, Memory(), ""
        self.hazards, self.log = [], []
        self._open = []  # not yet known to be done
        self._random = random.Random(seed)
        self._host_clock = {}
        self._lock = threading.RLock()

    def hazard(self, what):
        self.hazards.append(what)
        raise Hazard(what)

    # -- queueing

    def queue(self, work, stream, needs):
        with self._lock:
            self._check_alive(work)
            work.stream, work.needs = stream, needs
            work.clock = dict(self._host_clock)
            for before in needs:
                for other, number in before.clock.items():
                    work.clock[other] = max(number, work.clock.get(other, 0))
            work.clock[stream] = work.number
            self._check_race(work)
            if work.source is not None:
                work.snapshot = work.source.copy()
            if work.target is not None:
                work.target.view(np.uint8).fill(POISON)
            self._open.append(work)
            self.log.append(work)
        if self.order == "eager":
            while self.step():
                pass
        elif self.order == "random":
            for _ in range(self._random.randrange(3)):
                self.step()

    def _check_alive(self, work):
        for start, end in work.reads + work.writes:
            if not self.memory.is_alive(start, end):
                self.hazard(f"{work.label} uses memory that is not there, or not any more")

    def _check_race(self, work):
        for other in self._open:
            clash = overlap(work.writes, other.reads) or overlap(work.reads + work.writes, other.writes)
            if clash and not work.is_after(other):
                self.hazard(f"{work.label} races with {other.label} of another stream: no event orders them")
            both = other.target is not None and work.target is not None
            if both and overlap(work.writes, other.writes):
                self.hazard("a host buffer is used twice in flight: nobody waited for its first content")

    def check_idle(self, ranges, what):
        for work in self._open:
            if not work.done and overlap(ranges, work.reads + work.writes):
                self.hazard(f"memory was {what} while {work.label} is queued on it")

    def check_host(self, array, what, touched):
        for work in self._open:
            if overlap([span(array)], touched(work)):
                self.hazard(f"a host buffer was {what} before {work.label} was known to be done")

    # -- running

    def step(self):
        """Run one piece of work that may run, whichever; False if there is none."""
        with self._lock:
            ready = [w for w in self._open if not w.done and all(before.done for before in w.needs)]
            if ready:
                self._run(self._random.choice(ready))
            return bool(ready)

    def finish(self, work):
        """Run what ``work`` needs and no more, then let the host know."""
        with self._lock:
            todo = [w for w in self._open if not w.done and (w is work or work.is_after(w))]
            while todo:
                self._run(self._random.choice([w for w in todo if all(b.done for b in w.needs)]))
                todo = [w for w in todo if not w.done]
            self.observe(work)

    def observe(self, work):
        with self._lock:
            for stream, number in work.clock.items():
                self._host_clock[stream] = max(number, self._host_clock.get(stream, 0))
            self._open = [w for w in self._open if w.number > self._host_clock.get(w.stream, 0)]

    def _run(self, work):
        if self.lost:
            raise DeviceLost(f"the GPU stopped working for this process: {self.lost}")
        if work.snapshot is not None and work.snapshot.tobytes() != work.source.tobytes():
            self.hazard("a host buffer was changed before its copy to the device had run")
        self._check_alive(work)
        work.run()
        work.done, work.needs = True, ()

    def makespan(self, seconds):
        """When the last of everything queued ends, if each resource does one thing at a time."""
        ends, free = {}, dict.fromkeys(seconds, 0.0)
        for work in self.log:
            start = max([0.0, *(end for other, end in ends.items() if work.is_after(other))])
            if work.resource in seconds:
                start = max(start, free[work.resource])
                free[work.resource] = start + seconds[work.resource]
            ends[work] = start + seconds.get(work.resource, 0.0)
        return max(ends.values())
