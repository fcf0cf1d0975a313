"""An engine on the GPU, and the CPU where that cannot go on: a stream outlives its device."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..buffers import HostBuffer
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from .base import Backend, BackendInfo, State
from .device_backend import DeviceBackend
from .plan_opener import onnx_backend

log = logging.getLogger("livecut")


class Turn(NamedTuple):
    """State of a stream, and whose it is."""

    of: Backend
    state: State


class Buffer(HostBuffer):
    """A buffer that can move from one backend to another; the slot that holds it does not notice."""

    __slots__ = ("inner", "owner")

    def __init__(self, owner: Backend, inner: HostBuffer) -> None:
        self.become(owner, inner)

    def become(self, owner: Backend, inner: HostBuffer) -> None:
        """Be ``inner`` from now on."""
        self.owner, self.inner = owner, inner
        self.input, self.alpha_nchw, self.alpha = inner.input, inner.alpha_nchw, inner.alpha
        self.binding = inner.binding


class FailoverBackend(Backend):
    """Frames go through an engine on the GPU; where that fails, through the model's ONNX file on the CPU.

    Frames in flight are done again from their inputs, so none is lost; what the model remembers starts anew.
    The engine's memory is returned once the last of its buffers has moved. It is said once, in the log and
    in ``info``. Subclasses open the engine.

    Parameters
    ----------
    require_gpu : bool
        Never the CPU: an error is then an error.
    open_meanwhile : callable, optional
        What makes the backend for the CPU; tests give their own.
    """

    batch_pays = True
    instead_of = "the GPU"

    def __init__(
        self, *, require_gpu: bool = False, open_meanwhile: Callable[[], Backend] | None = None
    ) -> None:
        self._require_gpu = require_gpu
        self._open_meanwhile = open_meanwhile or onnx_backend
        self._inner: Backend | None = None
        self._engine: Backend | None = None
        self._onnx: Backend
        self._failed: Backend | None = None
        """The engine, once it has failed; another thread may still come back from it with an error."""
        self._closing: threading.Thread | None = None
        self._why_not = ""
        self._frames = 0
        self._lock = threading.RLock()
        """Held while the backend for the CPU runs or changes: a failed engine's frames come to it from two
        threads."""
        self._buffers: weakref.WeakSet[Buffer] = weakref.WeakSet()
        self._manifest: Manifest
        self._size_wh = (0, 0)
        self._threads = 0
        self._onnx_precision = "auto"

    # -- for subclasses

    def _begin_opening(
        self, manifest: Manifest, size_wh: tuple[int, int], precision: str, threads: int
    ) -> None:
        self._manifest, self._size_wh, self._threads = manifest, size_wh, threads
        self._onnx_precision = "fp32" if precision == "fp32" else "auto"  # a CPU has no fp16

    @property
    def _what(self) -> str:
        """The engine in words."""
        return f"{self.name} for {self._manifest.name} at {self._size_wh[0]}x{self._size_wh[1]}"

    def _serve(self, inner: Backend) -> None:
        """From here on ``inner`` is what runs."""
        self._inner, self.at_once, self.why_single = inner, inner.at_once, inner.why_single

    def _serve_engine(self, engine: Backend) -> None:
        self._engine = engine
        self._serve(engine)

    def _serve_onnx(self) -> None:
        onnx = self._open_meanwhile()
        try:
            onnx.open(self._manifest, self._size_wh, precision=self._onnx_precision, threads=self._threads)
        except BaseException:
            onnx.close()
            raise
        self._onnx = onnx
        self._serve(onnx)

    def _do_without(self, error: BackendError) -> None:
        """The engine cannot be opened, and another attempt would not help."""
        if self._require_gpu:
            raise error
        self._why_not = str(error)
        self._serve_onnx()
        log.warning(
            "%s cannot be opened: %s; served through %s", self._what, str(error), self._onnx.info.name
        )

    def _before_frames(self) -> None:
        """Called between two frames."""

    def _new_inner(self, owner: Backend) -> HostBuffer:
        """A buffer of ``owner`` for one that moves to it."""
        return owner.new_buffer()

    def _note(self) -> str:
        """What ``info`` adds in words."""
        return f"instead of {self.instead_of}: {self._why_not}" if self._inner is not self._engine else ""

    # -- frames

    @property
    def info(self) -> BackendInfo:
        info = self._running().info
        details = "; ".join(part for part in (info.details, self._note()) if part)
        return BackendInfo(info.name, info.device, info.precision, info.threads, details)

    def new_buffer(self) -> HostBuffer:
        with self._lock:  # an engine that fails meanwhile is not closed before the buffer is known
            inner = self._running()
            try:
                buffer = Buffer(inner, inner.new_buffer())
            except BackendError as error:
                self._engine_failed(inner, error)
                inner = self._running()
                buffer = Buffer(inner, inner.new_buffer())
            self._buffers.add(buffer)
        return buffer

    def new_state(self) -> State:
        if not self._manifest.state:
            return None
        inner = self._running()
        try:
            return Turn(inner, inner.new_state())
        except BackendError as error:
            if inner is self._running():  # else another has taken over meanwhile, and this one is closed
                self._engine_failed(inner, error)
            inner = self._running()
            return Turn(inner, inner.new_state())

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def submit(self, buffer: HostBuffer, state: State) -> State:
        return self.submit_together([buffer], [state])[0]

    def submit_together(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        self._before_frames()
        self._frames += len(buffers)
        inner = self._running()
        if inner is self._engine:
            try:
                return self._submitted(inner, buffers, states)
            except BackendError as error:
                self._engine_failed(inner, error)
        with self._lock:
            following = self._submitted(self._running(), buffers, states)
            self._let_go()  # whole frames leave a failed engine without a word to this one
            return following

    def _submitted(
        self, inner: Backend, buffers: Sequence[HostBuffer], states: Sequence[State]
    ) -> list[State]:
        with inner.thread_context():
            inputs = []
            for buffer in buffers:
                assert isinstance(buffer, Buffer)
                self._move(buffer, inner)
                inputs.append(buffer.inner)
            mine = [self._of(inner, state) for state in states]
            following = inner.submit_together(inputs, mine)
            return [None if state is None else Turn(inner, state) for state in following]

    def _of(self, inner: Backend, state: State) -> State:
        """A stream's state as ``inner`` knows it."""
        if state is None:
            return None
        return state.state if state.of is inner else self._begun(inner)

    def _begun(self, inner: Backend) -> State:
        """The state with which a stream begins, or begins anew, on ``inner``."""
        inner.prime = self.prime
        return inner.begin()

    def _move(self, buffer: Buffer, owner: Backend) -> None:
        """Make ``buffer`` one of ``owner``'s. Only when its frame is next: nobody else touches it then."""
        if buffer.owner is not owner:
            inner = self._new_inner(owner)
            np.copyto(inner.input, buffer.input)  # the frame that is in it goes along
            buffer.become(owner, inner)
            self._let_go()

    def collect(self, buffer: HostBuffer) -> None:
        assert isinstance(buffer, Buffer)
        owner = buffer.owner
        try:
            with owner.thread_context():
                owner.collect(buffer.inner)
            return
        except BackendError as error:
            self._engine_failed(owner, error)
        # The frame's input is still here: it is not lost with the device, only the memory of those before it.
        with self._lock:
            inner = self._running()
            with inner.thread_context():
                self._move(buffer, inner)
                inner.infer(buffer.inner, self._begun(inner))

    def _engine_failed(self, failed: Backend, error: BackendError) -> None:
        """An engine that fails while it runs: the stream goes on with the CPU, and does not go back."""
        with self._lock:
            if failed is self._engine and self._inner is failed:
                if self._require_gpu:
                    raise error
                self._why_not = f"it failed at frame {self._frames}: {error}"
                self._serve_onnx()
                self._failed, self._engine = failed, None
                # In words: whoever keeps the error keeps the frames it came through, and their memory.
                log.warning(
                    "%s failed: %s; from here on served through %s",
                    self._what, str(error), self._onnx.info.name,
                )  # fmt: skip
                self._let_go()
            elif failed is not self._failed:
                raise error

    def _let_go(self) -> None:
        """Close an engine that has failed, once no frame can be in it any more: others can use its memory."""
        with self._lock:
            failed = self._failed
            if failed is None or self._closing is not None:
                return
            if any(buffer.owner is failed for buffer in list(self._buffers)):
                return
            whole = failed.device_backend()
            if isinstance(whole, DeviceBackend) and whole.has_whole_frames:
                return  # their lanes are others' to let go of
            # Not on a frame's time.
            self._closing = threading.Thread(target=failed.close, name="livecut-engine-close")
            self._closing.start()

    def _running(self) -> Backend:
        if self._inner is None:
            raise BackendError(f"{self.name}: not open")
        return self._inner

    def warm_up(self) -> None:
        self._running().warm_up()

    def device_backend(self) -> Any:
        inner = self._inner
        return None if inner is None else inner.device_backend()

    # -- the end

    def close(self) -> None:
        with self._lock:
            failed = self._failed if self._closing is None else None
            every = [self._inner, failed, *self._more_to_close()]
            self._inner = self._engine = self._failed = None
        for backend in every:
            if backend is not None:
                backend.close()
        if self._closing is not None:
            self._closing.join()

    def _more_to_close(self) -> list[Backend | None]:
        return []


class GpuOrCpu(FailoverBackend):
    """A backend that opens ONNX files on the GPU, and the CPU where it cannot.

    Parameters
    ----------
    make : callable
        Makes the backend on the GPU.
    require_gpu, open_meanwhile
        As for ``FailoverBackend``.
    """

    def __init__(
        self,
        make: Callable[[], Backend],
        *,
        require_gpu: bool = False,
        open_meanwhile: Callable[[], Backend] | None = None,
    ) -> None:
        super().__init__(require_gpu=require_gpu, open_meanwhile=open_meanwhile)
        self._make = make

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._begin_opening(manifest, size_wh, precision, threads)
        engine = self._make()
        engine.batch = self.batch
        try:
            engine.open(manifest, size_wh, precision=precision, threads=threads)
        except BaseException as error:
            engine.close()
            # What was asked for and is not to be had is never replaced; what fails is.
            if not isinstance(error, BackendError) or type(error) is DeviceUnavailable:
                raise
            self._do_without(error)
            return
        self._serve_engine(engine)
        # What a stream begins with is known to its own backend alone, and a CPU that takes over must know it.
        self.state_per_stream = engine.state_per_stream and manifest.begins_with is None
