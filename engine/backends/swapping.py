"""TensorRT where its engine fits, ONNX where it does not yet: no stream waits for a build, nor dies of one.

An engine is bound to library, driver and GPU, so one that was good yesterday may not be today. It is used
only if its passport and its bytes say that it fits. Else the model is served from its ONNX file at once, the
engine is built in the background, and takes over between two frames.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..buffers import HostBuffer
from ..errors import (
    BackendError,
    DeviceBusy,
    DeviceLost,
    DeviceUnavailable,
    DriverTooOld,
    LivecutError,
    OutOfDeviceMemory,
)
from ..manifest import Manifest
from ..tensorrt.cache import Build, EngineCache, Found
from ..tensorrt.locks import Cancelled
from ..tensorrt.rebuild import build_in_process
from ..tensorrt.wanted import Place, Wanted, find_wanted, this_place
from .base import Backend, BackendInfo
from .failover import FailoverBackend
from .plan_opener import OpenEngine, open_tensorrt

log = logging.getLogger("livecut")
_JOIN_SECONDS = 5.0
NOT_THE_ENGINES_FAULT = (OutOfDeviceMemory, DeviceLost, DeviceBusy, DriverTooOld)


class SwappingBackend(FailoverBackend):
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
    instead_of = "a TensorRT engine"

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
        super().__init__(require_gpu=require_gpu, open_meanwhile=open_meanwhile)
        self._rebuild = rebuild
        self._cache = cache or EngineCache()
        self._open_engine = open_engine or open_tensorrt
        self._build = build or build_in_process
        self._place = place
        self._ready: Backend | None = None
        """An engine that waits to take over, warm."""
        self._spare: list[HostBuffer] = []
        """Buffers of that engine, made in the background: taking over must not make a frame late."""
        self._onnx_frames = 0
        self._stop = threading.Event()
        self._builder: threading.Thread | None = None
        self._wanted: Wanted

    # -- opening

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._begin_opening(manifest, size_wh, precision, threads)
        self._wanted = find_wanted(manifest, size_wh, precision, self._place(), self.batch)
        # What a stream begins with is known to its own backend alone, and whatever takes over must know it.
        self.state_per_stream = self._wanted.batch > 1 and manifest.begins_with is None
        found = self._cache.find(self._wanted)
        if found.path is not None:
            try:
                self._serve_engine(self._opened(found))
                return
            except LivecutError as error:
                if type(error) is DeviceUnavailable:
                    raise  # no other engine would run here either
                if isinstance(error, NOT_THE_ENGINES_FAULT):
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

    @property
    def _what(self) -> str:
        return f"the engine for {self._wanted}"

    def _opened(self, found: Found) -> Backend:
        assert found.path is not None
        assert found.passport is not None
        engine = self._open_engine(found.path, found.passport, self._wanted, self._threads)
        if self.state_per_stream and self._manifest.state and not engine.state_per_stream:
            engine.close()  # streams may share this backend already
            raise BackendError(f"the engine takes one stream alone: {engine.why_single}")
        return engine

    def _build_first(self) -> None:
        if not self._rebuild:
            raise DeviceUnavailable(
                f"--require-gpu: no engine for {self._wanted}: {self._why_not}; "
                "and --no-rebuild forbids to build it"
            )
        log.warning("no engine for %s: %s; building it before the first frame", self._wanted, self._why_not)
        try:
            self._serve_engine(self._opened(self._cache.build(self._wanted, self._build)))
        except (LivecutError, OSError) as error:
            raise DeviceUnavailable(f"--require-gpu: no engine for {self._wanted}: {error}") from error

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

    def _swap(self) -> None:
        """Between two frames: from here on the engine is what runs."""
        with self._lock:
            engine, self._ready = self._ready, None
            if engine is None:
                return  # another thread was quicker
            self._serve_engine(engine)
            self._onnx_frames = self._frames
        kept = f", for this run only: {self._cache.not_kept}" if self._cache.not_kept else ""
        state = "; its recurrent state starts anew" if self._manifest.state else ""
        log.info(
            "the engine for %s is built%s: after %d frames on %s now on %s%s",
            self._wanted, kept, self._frames, self._onnx.name, engine.info, state,
        )  # fmt: skip
        threading.Thread(target=self._onnx.close, name="livecut-onnx-close").start()  # not on a frame's time

    # -- frames

    def _before_frames(self) -> None:
        if self._ready is not None:
            self._swap()

    def _swap_if_idle(self) -> None:
        """Who asks what runs before the first frame is told what the first frame will go through."""
        if self._ready is not None and self._lock.acquire(blocking=False):
            try:
                self._swap()
            finally:
                self._lock.release()

    @property
    def info(self) -> BackendInfo:
        self._swap_if_idle()
        return super().info

    def warm_up(self) -> None:
        self._swap_if_idle()
        super().warm_up()

    def device_backend(self) -> Any:
        self._swap_if_idle()
        return super().device_backend()

    def _new_inner(self, owner: Backend) -> HostBuffer:
        return self._spare.pop() if self._spare and owner is self._engine else owner.new_buffer()

    def _note(self) -> str:
        if self._inner is self._engine and self._onnx_frames:
            return (
                f"the first {self._onnx_frames} frames were served through {self._onnx.name}: {self._why_not}"
            )
        return super()._note()

    # -- the end

    def close(self) -> None:
        self._stop.set()
        if self._builder is not None and self._builder is not threading.current_thread():
            self._builder.join(_JOIN_SECONDS)
        super().close()
        self._cache.close()

    def _more_to_close(self) -> list[Backend | None]:
        ready, self._ready, self._spare = self._ready, None, []
        return [ready]
