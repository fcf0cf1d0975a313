"""A CUDA device made of Python: it runs what is queued as late as it may, and catches what would be a race.

Streams are queues. Nothing runs until somebody waits for it, and then only what that wait needs, in any order
that streams and events allow: so code that forgets to wait reads poison, not the right answer by luck. Caught
as a ``Hazard``: work on the same bytes that no event orders; memory used after it was freed, or freed while
queued work uses it; a host buffer that changes before its copy has run, or is filled again before anybody
looked at it; and any call outside ``activate()``.
"""

import threading
import weakref
from contextlib import contextmanager

import numpy as np
from cuda_order import Hazard, Order, Work, span

from livecut.engine.buffers import aligned_zeros
from livecut.engine.cuda.device import Device, DeviceMemory, Event, Graph, Kernel, Module, Stream
from livecut.engine.errors import BackendError, DeviceLost, OutOfDeviceMemory, WrongDevice

__all__ = ["FakeDevice", "FakeKernel", "Hazard"]


class FakeMemory(DeviceMemory):
    def __init__(self, device, pointer, nbytes):
        self.device, self.pointer, self.nbytes = device, pointer, nbytes

    def free(self):
        self.device.called("free")
        if self.pointer in self.device.memory.blocks:
            self.device.order.check_idle([(self.pointer, self.pointer + self.nbytes)], "freed")
            self.device.memory.free(self.pointer)
            self.device.used -= self.nbytes


class FakeEvent(Event):
    def __init__(self, device):
        self.device, self.mark = device, None
        device.taken["events"].add(self)

    def synchronize(self):
        self.device.called("event.synchronize")
        if self.mark is not None:
            self.device.order.finish(self.mark)

    def query(self):
        self.device.called("event.query")
        if self.mark is None:
            return True
        if not self.mark.done:
            self.device.order.step()  # polling makes progress, a little
        if self.mark.done:
            self.device.order.observe(self.mark)
        return self.mark.done

    def milliseconds_since(self, earlier):
        return float(self.mark.number - earlier.mark.number)

    def free(self):
        self.device.called("event.free")
        self.device.taken["events"].discard(self)


class FakeKernel(Kernel):
    """``run(device, grid, block, arguments)`` is what it does, ``touch(arguments)`` gives what it reads and
    writes as two lists of (pointer, nbytes)."""

    def __init__(self, name, run, touch):
        self.name, self.run, self.touch = name, run, touch


class FakeModule(Module):
    def __init__(self, device, kernels):
        self.device, self.kernels = device, kernels
        device.taken["modules"].add(self)

    def kernel(self, name):
        if name not in self.kernels:
            raise BackendError(f"CUDA: the module has no kernel {name!r}")
        return self.kernels[name]

    def unload(self):
        self.device.taken["modules"].discard(self)


class FakeGraph(Graph):
    def __init__(self, device, works):
        self.device, self.works, self.nodes = device, works, len(works)
        device.taken["graphs"].add(self)

    def launch(self, stream):
        self.device.called("graph.launch")
        if self not in self.device.taken["graphs"]:
            self.device.order.hazard("a graph was launched after it was freed")
        self.device.graph_launches += 1
        for work in self.works:
            stream.queue(work.fresh())

    def free(self):
        self.device.called("graph.free")
        self.device.taken["graphs"].discard(self)


class FakeStream(Stream):
    def __init__(self, device, handle):
        self.device, self.handle = device, handle
        self._last, self._waits, self._count, self._captured = None, (), 0, None
        device.taken["streams"].add(self)

    def submit(self, work):
        self.device.called(work.label)
        if self._captured is not None:
            self._captured.append(work)
        else:
            self.device.stream_calls += 1
            self.queue(work)

    def queue(self, work):
        self._count += 1
        work.number = self._count
        needs = self._waits if self._last is None else (self._last, *self._waits)
        self.device.order.queue(work, self, needs)
        self._last, self._waits = work, ()

    def copy_in(self, pointer, array):
        self._check_host(array)

        def run():
            self.device.array(pointer, array.shape, array.dtype)[...] = array

        target = [(pointer, pointer + array.nbytes)]
        self.submit(Work("copy_in", run, [span(array)], target, "copy-in", source=array))

    def copy_out(self, array, pointer):
        self._check_host(array)

        def run():
            array[...] = self.device.array(pointer, array.shape, array.dtype)

        source = [(pointer, pointer + array.nbytes)]
        self.submit(Work("copy_out", run, source, [span(array)], "copy-out", target=array))

    def _check_host(self, array):
        if not self.device.memory.is_page_locked(array):
            self.device.order.hazard("a copy to or from memory that is not page-locked: it would block")
        if not array.flags.c_contiguous:
            self.device.order.hazard("a copy of an array that is not contiguous")

    def copy(self, target, source, nbytes):
        def run():
            block = self.device.array(source, (nbytes,), np.uint8)
            self.device.array(target, (nbytes,), np.uint8)[...] = block

        self.submit(Work("copy", run, [(source, source + nbytes)], [(target, target + nbytes)]))

    def fill(self, pointer, value, nbytes):
        def run():
            self.device.array(pointer, (nbytes,), np.uint8).fill(value)

        self.submit(Work("fill", run, [], [(pointer, pointer + nbytes)]))

    def launch(self, kernel, grid, block, arguments, shared_bytes=0):
        assert all(isinstance(value, np.generic) for value in arguments), "arguments are NumPy scalars"
        assert min(*grid, *block) >= 1, f"empty launch: {grid}, {block}"
        assert np.prod(block) <= 1024, f"block too large: {block}"
        reads, writes = kernel.touch(arguments)
        self.device.enqueue(
            self.handle, kernel.name, lambda: kernel.run(self.device, grid, block, arguments), reads, writes
        )

    def record(self, event):
        self.device.called("record")
        if self._captured is not None:
            self.device.order.hazard("an event was recorded inside a capture: only the graph would know it")
        event.mark = Work("record", lambda: None, resource=None)
        self.queue(event.mark)

    def wait(self, event):
        self.device.called("wait")
        if self._captured is not None:
            self.device.order.hazard("a stream waited inside a capture for an event from outside")
        if event.mark is not None:
            self._waits = (*self._waits, event.mark)

    def synchronize(self):
        self.device.called("stream.synchronize")
        for work in (*self._waits, self._last):
            if work is not None:
                self.device.order.finish(work)

    def begin_capture(self):
        self.device.called("begin_capture")
        self._captured = []

    def end_capture(self):
        self.device.called("end_capture")
        works, self._captured = self._captured, None
        if self.device.no_capture:
            raise BackendError("CUDA: operation not permitted when stream is capturing (CUDA error 900)")
        return FakeGraph(self.device, works)

    def free(self):
        self.device.called("stream.free")
        if self._last is not None and not self._last.done:
            self.device.order.hazard("a stream was freed with work in it")
        self._last = None
        self.device.taken["streams"].discard(self)


class FakeDevice(Device):
    """A GPU of ``memory`` bytes.

    ``order``: ``late`` runs only what a wait needs; ``eager`` runs everything at once; ``random`` runs a few
    pieces here and there, from ``seed``. ``no_capture`` makes every capture fail. ``images`` maps what
    ``load_module`` is given to kernels by name.
    """

    name, compute_capability, driver = "Fake GPU", "8.6", "12.4"

    def __init__(self, *, memory=1 << 30, order="late", seed=0, integrated=False, no_capture=False):
        self.total, self.integrated, self.no_capture = memory, integrated, no_capture
        self.used = self.stream_calls = self.graph_launches = self.closed = self._inside = 0
        self.order = Order(order, seed)
        self.memory = self.order.memory
        self.images, self._handles = {}, {}
        self.taken = {name: set() for name in ("streams", "events", "graphs", "modules")}
        self._depth = threading.local()

    @contextmanager
    def activate(self):
        self._depth.value = getattr(self._depth, "value", 0) + 1
        self._inside += 1
        try:
            yield
        finally:
            self._depth.value -= 1
            self._inside -= 1

    def page_locked(self, shape, dtype):
        self.called("page_locked")
        array = aligned_zeros(shape, dtype)
        self._take(array.nbytes)
        start = array.ctypes.data
        self.memory.host[start] = array.nbytes
        weakref.finalize(array.base, self._returned, start, array.nbytes)
        return array

    def mapped_pointer(self, array):
        assert self.integrated, "mapped memory on a GPU that has its own"
        assert array.ctypes.data in self.memory.host, "not a whole page-locked array"
        return array.ctypes.data

    def malloc(self, nbytes):
        self.called("malloc")
        self._take(nbytes)
        return FakeMemory(self, self.memory.take(nbytes), nbytes)

    def memory_info(self):
        self.called("memory_info")
        return self.total - self.used, self.total

    def stream(self):
        self.called("stream")
        stream = FakeStream(self, 0x5000 + 16 * len(self._handles))
        self._handles[stream.handle] = stream
        return stream

    def event(self, timing=False):
        self.called("event")
        return FakeEvent(self)

    def load_module(self, image):
        self.called("load_module")
        if image not in self.images:
            raise WrongDevice("this was built for another GPU: no kernel image is available")
        return FakeModule(self, self.images[image])

    def close(self):
        self.closed += 1
        if self._inside:
            self.order.hazard("the device was closed while a thread was inside it")

    # -- for fake engines and kernels

    def enqueue(self, handle, label, run, reads, writes):
        """Queue Python code on a stream, by its handle, as TensorRT queues its kernels. ``reads`` and
        ``writes`` are lists of (pointer, nbytes)."""
        ranges = ([(p, p + n) for p, n in touched] for touched in (reads, writes))
        self._handles[handle].submit(Work(label, run, *ranges))

    def is_capturing(self, handle):
        """Whether what is queued on that stream goes into a graph."""
        return self._handles[handle]._captured is not None

    def array(self, pointer, shape, dtype):
        """Device memory as an array; for code that runs on the device."""
        return self.memory.array(pointer, shape, dtype)

    # -- for tests

    @property
    def hazards(self):
        return self.order.hazards

    def reading(self, array):
        """Say that the host reads ``array`` now; a Hazard if something queued may still write it."""
        self.order.check_host(array, "read", lambda work: work.writes)

    def writing(self, array):
        """Say that the host writes ``array`` now; a Hazard if something queued may still use it."""
        self.order.check_host(array, "written", lambda work: work.reads + work.writes)

    def lose(self, why="an illegal memory access was encountered"):
        """From now on every call fails, as after an Xid."""
        self.order.lost = why

    def live(self):
        """How many of each thing are taken and not given back; what is zero is left out."""
        counts = {name: len(things) for name, things in self.taken.items()}
        counts |= {"memory": len(self.memory.blocks), "page_locked": len(self.memory.host)}
        return {name: count for name, count in counts.items() if count}

    # -- inside

    def called(self, what):
        if self.order.lost:
            raise DeviceLost(f"the GPU stopped working for this process: {self.order.lost}")
        if getattr(self._depth, "value", 0) == 0:
            thread = threading.current_thread().name
            self.order.hazard(f"{what} was called outside activate() on thread {thread}")

    def _take(self, nbytes):
        if self.used + nbytes > self.total:
            raise OutOfDeviceMemory(
                f"the GPU is out of memory: {nbytes} bytes were asked for, {self.total - self.used} are free"
            )
        self.used += nbytes

    def _returned(self, start, nbytes):
        del self.memory.host[start]
        self.used -= nbytes
