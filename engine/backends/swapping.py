"""TensorRT where its engine fits, ONNX where it does not yet: no stream waits for a build, nor dies of one.

An engine is bound to library, driver and GPU, so one that was good yesterday may not be today. It is used
only if its passport and its bytes say that it fits. Else the model is served from its ONNX file at once, the
engine is built in the background, and takes over between two frames.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..buffers import HostBuffer
from ..errors import (
    BackendError,
    DeviceLost,
    DeviceUnavailable,
    LivecutError,
    OutOfDeviceMemory,
    WrongDevice,
)
from ..manifest import Manifest
from ..tensorrt.cache import Build, EngineCache, Found
from ..tensorrt.locks import Cancelled
from ..tensorrt.rebuild import build_in_process
from ..tensorrt.wanted import Place, Wanted, find_wanted, this_place
from .base import Backend, BackendInfo, State
from .plan_opener import OpenEngine, onnx_backend, open_tensorrt

log = logging.getLogger("livecut")
_JOIN_SECONDS = 5.0


class _Turn(NamedTuple):
    """State of a stream, and whose it is."""

    of: Backend
    state: State


class _Buffer(HostBuffer):
    """A buffer that can move from one backend to another; the slot that holds it does not notice."""

    __slots__ = ("inner", "owner")

    def __init__(self, owner: Backend, inner: HostBuffer) -> None:
        self.become(owner, inner)

    def become(self, owner: Backend, inner: HostBuffer) -> None:
        """Be ``inner`` from now on."""
        self.owner, self.inner = owner, inner
        self.input, self.alpha_nchw, self.alpha = inner.input, inner.alpha_nchw, inner.alpha
        self.binding = inner.binding


class SwappingBackend(Backend):
    """The TensorRT engine of a model, and its ONNX file meanwhile.

    The recurrent state of a stream starts anew when the engine takes over: it lives on another device, in
    another precision. That is said in the log.

    Parameters
    ----------
    require_gpu : bool
        Never serve from ONNX: build first, or fail.
    rebuild : bool
        Build an engine that is missing or does not fit; else say so and stay with ONNX, or fail with
        ``require_gpu``.
    cache : EngineCache, optional
        Where engines are kept.
    open_engine, build, open_meanwhile, place : callable, optional
        How an engine is opened and built, what makes the backend for ONNX, and what this machine is; tests
        give their own.
    """

    name = "tensorrt"

    def __init__(
        self,
        *,
        require_gpu: bool = False,
        rebuild: bool = True,
        cache: EngineCache | None = None,
        open_engine: OpenEngine | None = None,
        build: Build | None = None,
        open_meanwhile: Callable[[], Backend] | None = None,
        place: Callable[[], Place] = this_place,
    ) -> None:
        self._require_gpu, self._rebuild = require_gpu, rebuild
        self._cache = cache or EngineCache()
        self._open_engine = open_engine or open_tensorrt
        self._build = build or build_in_process
        self._open_meanwhile = open_meanwhile or onnx_backend
        self._place = place
        self._inner: Backend | None = None
        self._engine: Backend | None = None
        self._onnx: Backend
        self._ready: Backend | None = None
        """An engine that waits to take over, warm."""
        self._spare: list[HostBuffer] = []
        """Buffers of that engine, made in the background: taking over must not make a frame late."""
        self._failed: Backend | None = None
        self._why_not = ""
        self._frames = self._onnx_frames = 0
        self._stop = threading.Event()
        self._builder: threading.Thread | None = None
        self._lock = threading.RLock()
        """Held while the backend for ONNX runs or changes: a failed engine's frames come to it from two
        threads."""
        self._buffers: weakref.WeakSet[_Buffer] = weakref.WeakSet()
        self._wanted: Wanted

    # -- opening

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._manifest, self._size_wh, self._threads = manifest, size_wh, threads
        self._onnx_precision = "fp32" if precision == "fp32" else "auto"  # a CPU has no fp16
        self._wanted = find_wanted(manifest, size_wh, precision, self._place())
        found = self._cache.find(self._wanted)
        if found.path is not None:
            try:
                self._inner = self._engine = self._opened(found)
                return
            except LivecutError as error:
                if isinstance(error, DeviceUnavailable) and not isinstance(error, WrongDevice):
                    raise  # no other engine would run here either
                if isinstance(error, (OutOfDeviceMemory, DeviceLost)):
                    self._do_without(error)  # nor would it with the same one built again
                    return
                self._cache.refuse(found, f"does not load: {error}")
                found = self._cache.find(self._wanted)
        self._why_not = found.reason
        if self._require_gpu:
            self._build_first()
            return
        self._serve_onnx()
        if not self._rebuild:
            log.warning(
                "no engine for %s: %s; it stays with %s, as building is off (--no-rebuild)",
                self._wanted, self._why_not, self._onnx.info.name,
            )  # fmt: skip
            return
        log.warning(
            "no engine for %s: %s; served through %s while it is built",
            self._wanted, self._why_not, self._onnx.info.name,
        )  # fmt: skip
        self._builder = threading.Thread(target=self._build_behind, name="livecut-engine", daemon=True)
        self._builder.start()

    def _opened(self, found: Found) -> Backend:
        assert found.path is not None
        assert found.passport is not None
        return self._open_engine(found.path, found.passport, self._wanted, self._threads)

    def _do_without(self, error: BackendError) -> None:
        if self._require_gpu:
            raise error
        self._why_not = str(error)
        self._serve_onnx()
        log.warning(
            "the engine for %s fits, and cannot be opened: %s; served through %s",
            self._wanted, error, self._onnx.info.name,
        )  # fmt: skip

    def _build_first(self) -> None:
        if not self._rebuild:
            raise DeviceUnavailable(
                f"--require-gpu: no engine for {self._wanted}: {self._why_not}; "
                "and --no-rebuild forbids to build it"
            )
        log.warning("no engine for %s: %s; building it before the first frame", self._wanted, self._why_not)
        try:
            self._inner = self._engine = self._opened(self._cache.build(self._wanted, self._build))
        except (LivecutError, OSError) as error:
            raise DeviceUnavailable(f"--require-gpu: no engine for {self._wanted}: {error}") from error

    def _serve_onnx(self) -> None:
        onnx = self._open_meanwhile()
        try:
            onnx.open(self._manifest, self._size_wh, precision=self._onnx_precision, threads=self._threads)
        except BaseException:
            onnx.close()
            raise
        self._inner = self._onnx = onnx

    # -- in the background

    def _build_behind(self) -> None:
        """Whatever goes wrong here is said, and the stream goes on as it is."""
        failed = "could not be built"
        try:
            with suppress(Cancelled):
                found = self._cache.build(self._wanted, self._build, stop=self._stop)
            if self._stop.is_set():
                return
            failed = "is built, and cannot be opened"
            engine = self._opened(found)
            try:
                engine.warm_up()
                self._spare = [engine.new_buffer() for _ in range(len(self._buffers))]
            except BaseException:
                engine.close()
                raise
            with self._lock:
                if not self._stop.is_set():
                    self._ready = engine
                    return
            engine.close()
        except Exception as error:  # a thread of ours ends a stream in no case
            log.warning(
                "the engine for %s %s: %s; it stays with %s",
                self._wanted, failed, " ".join(str(error).split()), self._onnx.info.name,
            )  # fmt: skip

    def wait_until_built(self, timeout: float | None = None) -> bool:
        """Wait for what goes on in the background; whether it has ended. It may have failed."""
        if self._builder is not None:
            self._builder.join(timeout)
            return not self._builder.is_alive()
        return True

    def _swap(self, engine: Backend) -> None:
        """Between two frames: from here on the engine is what runs."""
        with self._lock:
            self._ready = None
            self._inner = self._engine = engine
            self._onnx_frames = self._frames
        kept = f", for this run only: {self._cache.not_kept}" if self._cache.not_kept else ""
        state = "; its recurrent state starts anew" if self._manifest.state else ""
        log.info(
            "the engine for %s is built%s: after %d frames on %s now on %s%s",
            self._wanted, kept, self._frames, self._onnx.name, engine.info, state,
        )  # fmt: skip
        threading.Thread(target=self._onnx.close, name="livecut-onnx-close").start()  # not on a frame's time

    # -- frames

    @property
    def info(self) -> BackendInfo:
        inner = self._inner
        if inner is None:
            raise BackendError("tensorrt: not open")
        info, note = inner.info, ""
        if inner is not self._engine:
            note = f"instead of a TensorRT engine: {self._why_not}"
        elif self._onnx_frames:
            note = (
                f"the first {self._onnx_frames} frames were served through {self._onnx.name}: {self._why_not}"
            )
        details = "; ".join(part for part in (info.details, note) if part)
        return BackendInfo(info.name, info.device, info.precision, info.threads, details)

    def new_buffer(self) -> HostBuffer:
        inner = self._running()
        try:
            buffer = _Buffer(inner, inner.new_buffer())
        except BackendError as error:
            self._engine_failed(inner, error)
            inner = self._running()
            buffer = _Buffer(inner, inner.new_buffer())
        self._buffers.add(buffer)
        return buffer

    def new_state(self) -> State:
        if not self._manifest.state:
            return None
        inner = self._running()
        return _Turn(inner, inner.new_state())

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def submit(self, buffer: HostBuffer, state: State) -> State:
        assert isinstance(buffer, _Buffer)
        if (ready := self._ready) is not None:
            self._swap(ready)
        self._frames += 1
        inner = self._running()
        if inner is self._engine:
            try:
                return self._submitted(inner, buffer, state)
            except BackendError as error:
                self._engine_failed(inner, error)
        with self._lock:
            return self._submitted(self._running(), buffer, state)

    def _submitted(self, inner: Backend, buffer: _Buffer, state: State) -> State:
        with inner.thread_context():
            self._move(buffer, inner)
            if state is None:
                return inner.submit(buffer.inner, None)
            mine = state.state if state.of is inner else self._begun(inner)
            return _Turn(inner, inner.submit(buffer.inner, mine))

    def _begun(self, inner: Backend) -> State:
        """The state with which a stream begins, or begins anew, on ``inner``."""
        inner.prime = self.prime
        return inner.begin()

    def _move(self, buffer: _Buffer, owner: Backend) -> None:
        """Make ``buffer`` one of ``owner``'s. Only when its frame is next: nobody else touches it then."""
        if buffer.owner is not owner:
            inner = self._spare.pop() if self._spare and owner is self._engine else owner.new_buffer()
            np.copyto(inner.input, buffer.input)  # the frame that is in it goes along
            buffer.become(owner, inner)

    def collect(self, buffer: HostBuffer) -> None:
        assert isinstance(buffer, _Buffer)
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
        """An engine that fails while it runs: the stream goes on with ONNX, and does not go back."""
        with self._lock:
            if failed is self._engine and self._inner is failed:
                if self._require_gpu:
                    raise error
                self._why_not = f"it failed at frame {self._frames}: {error}"
                self._serve_onnx()
                self._failed, self._engine, self._spare = failed, None, []
                log.warning(
                    "the engine for %s failed: %s; from here on served through %s",
                    self._wanted, error, self._onnx.info.name,
                )  # fmt: skip
            elif failed is not self._failed:
                raise error

    def _running(self) -> Backend:
        if self._inner is None:
            raise BackendError("tensorrt: not open")
        return self._inner

    def warm_up(self) -> None:
        self._running().warm_up()

    def device_backend(self) -> Any:
        inner = self._inner
        return None if inner is None else inner.device_backend()

    # -- the end

    def close(self) -> None:
        self._stop.set()
        if self._builder is not None and self._builder is not threading.current_thread():
            self._builder.join(_JOIN_SECONDS)
        with self._lock:
            every = [self._inner, self._ready, self._failed]
            self._inner = self._ready = self._engine = self._failed = None
            self._spare = []
        for backend in every:
            if backend is not None:
                backend.close()
        self._cache.close()
