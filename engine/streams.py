"""Several streams of one process on one device: frames queued together, and a full device that sheds load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from .backends import Backend, BackendInfo, select_backend
from .backends.base import State
from .buffers import HostBuffer
from .clock import Clock, MonotonicClock
from .errors import BackendError, UsageError
from .manifest import Manifest
from .pipeline import Pipeline
from .stats import StreamReport
from .turns import Batches, Member, Turns


@dataclass(eq=False)
class _Request:
    """One frame on its way through the shared device."""

    of: StreamBackend
    buffer: HostBuffer
    error: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    since: float = 0.0


class StreamGroup:
    """Streams that share a device: each takes ``backend(...)`` for its own ``Session``.

    Frames of all streams are gathered for at most ``wait_ms`` and queued together. A stream takes a frame
    from its camera only when it is its turn, and turns are given so that no frame takes longer than
    ``bound_ms`` on the device: when there is more to do than it can, cameras drop frames as the policy says,
    and delay stays.

    Models without state share one engine for each input size; with state every stream has its own.

    Parameters
    ----------
    backend : str or callable
        As for ``Session``.
    batch : int
        Frames queued together at most.
    wait_ms : float
        How long a frame may wait for others to go with.
    bound_ms : float
        How long a frame may take on the shared device, waiting included.
    most_under_way : int
        Frames under way at most, of all streams.
    policy : str
        ``fair`` or ``priority``, see ``Turns``.
    clock : Clock, optional
        For tests.

    Examples
    --------
    >>> group = StreamGroup("null")
    >>> front, till = group.backend("front"), group.backend("till", priority=1)
    >>> group.close()
    """

    def __init__(
        self,
        backend: str | Callable[[], Backend] = "auto",
        *,
        batch: int = 4,
        wait_ms: float = 2.0,
        bound_ms: float = 33.0,
        most_under_way: int = 16,
        policy: str = "fair",
        clock: Clock | None = None,
    ) -> None:
        self._make = select_backend(backend)[0] if isinstance(backend, str) else backend
        self.turns = Turns(most_under_way, bound_ms / 1e3, policy)
        self.batches = Batches(batch, wait_ms / 1e3)
        self.clock = clock or MonotonicClock()
        self.members: list[Member] = []
        self._engines: dict[Any, Backend] = {}
        self._changed = threading.Condition(threading.RLock())
        self._given: set[Member] = set()
        self._preparing = 0
        self._last_done = 0.0
        self._closed = False
        self._opening = threading.Lock()
        self._queued: SimpleQueue[Any] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"livecut-shared-{name}", daemon=True)
            for name, work in (("queue", self._work), ("finish", self._finish))
        ]
        for thread in self._threads:
            thread.start()

    def backend(self, name: str = "", priority: int = 0) -> Callable[[], Backend]:
        """What a stream's ``Session`` takes as its ``backend``."""
        if self._closed:
            raise UsageError("stream group: already closed; make another")
        member = Member(name or f"stream {len(self.members) + 1}", priority)
        self.members.append(member)
        return lambda: StreamBackend(self, member)

    def close(self) -> None:
        """Close the engines; the streams have ended. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        with self._opening:
            engines, self._engines = list(self._engines.values()), {}
        for engine in engines:
            engine.close()

    def __enter__(self) -> StreamGroup:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- for the streams' backends

    def engine(self, owner: object, manifest: Manifest, size_wh: tuple[int, int], options: Any) -> Backend:
        """The engine for a model and size: one for all, or one for ``owner`` if the model has state."""
        key = (manifest.sha256, size_wh, tuple(options.items()), id(owner) if manifest.state else None)
        with self._opening:
            if key not in self._engines:
                engine = self._make()
                try:
                    engine.open(manifest, size_wh, **options)
                except BaseException:
                    engine.close()
                    raise
                self._engines[key] = engine
            return self._engines[key]

    def admit(self, member: Member) -> None:
        """Wait for a turn of ``member``."""
        with self._changed:
            if not self.turns.ask(member):
                self._changed.wait_for(lambda: member in self._given or self._closed)
                if self._closed:
                    raise BackendError("stream group: closed while a stream was waiting for its turn")
                self._given.discard(member)
            self._preparing += 1

    def queue(self, request: _Request) -> None:
        """A frame that had its turn is ready for the device."""
        with self._changed:
            self._preparing -= 1
            request.since = self.clock.now()
            self.batches.add(request, request.since)
            self._changed.notify_all()

    def done(self, member: Member, request: _Request | None) -> None:
        """A frame has its result, or with None will have none: its turn is over."""
        with self._changed:
            seconds = None
            if request is None:
                self._preparing -= 1
            elif request.error is None:
                now = self.clock.now()
                seconds = now - max(request.since, self._last_done)
                self._last_done = now
            self.turns.done(member, seconds)
            self._give()

    def leave(self, member: Member) -> None:
        """A stream ends."""
        with self._changed:
            self.turns.leave(member)
            self._give()

    def _give(self) -> None:
        while (member := self.turns.give()) is not None:
            self._given.add(member)
        self._changed.notify_all()

    # -- two threads: one queues frames on the device, one waits for them, so that a stream that is slow to
    # take its results holds up no other

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (batch := self._next_batch()):
                    if self._closed:
                        self._queued.put(None)
                        return
                    wait = self.batches.due - self.clock.now() if len(self.batches) else None
                    self._changed.wait(wait)
            for request in batch:
                try:
                    request.of.run(request.buffer)
                except BaseException as error:  # it is the stream's: raised where that collects the frame
                    request.error = error
                self._queued.put(request)

    def _next_batch(self) -> list[_Request]:
        return self.batches.take(self.clock.now(), 0 if self._closed else self._preparing)

    def _finish(self) -> None:
        while (request := self._queued.get()) is not None:
            try:
                if request.error is None:
                    request.of.wait_for(request.buffer)
            except BaseException as error:
                request.error = error
            self.done(request.of.member, request)
            request.finished.set()


class StreamBackend(Backend):
    """One stream's view of a shared device; its ``Session`` and ``Pipeline`` notice nothing."""

    name = "shared"

    def __init__(self, group: StreamGroup, member: Member) -> None:
        self._group, self.member = group, member
        self._engine: Backend | None = None
        self._state: State = None
        self._requests: dict[HostBuffer, _Request] = {}
        self._has_turn = False

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        options = {"precision": precision, "threads": threads}
        self._engine = self._group.engine(self, manifest, size_wh, options)

    def _opened(self) -> Backend:
        if self._engine is None:
            raise BackendError("shared backend: not open")
        return self._engine

    @property
    def info(self) -> BackendInfo:
        info, group = self._opened().info, self._group
        shared = (
            f"shared by {len(group.members)} streams, {group.turns.policy}, batches of up to "
            f"{group.batches.most}, at most {1e3 * group.turns.bound_seconds:g} ms on the device"
        )
        details = "; ".join(part for part in (info.details, shared) if part)
        return BackendInfo(info.name, info.device, info.precision, info.threads, details)

    def new_buffer(self) -> HostBuffer:
        return self._opened().new_buffer()

    def new_state(self) -> State:
        self._state = self._opened().new_state()
        return self if self._state is not None else None

    def admit(self) -> bool:
        if not self._has_turn:
            self._group.admit(self.member)
            self._has_turn = True
        return True

    def submit(self, buffer: HostBuffer, state: State) -> State:
        self.admit()
        self._has_turn = False
        request = self._requests[buffer] = _Request(self, buffer)
        self._group.queue(request)
        return state

    def run(self, buffer: HostBuffer) -> None:
        """Start a frame on the engine; called by the group's one thread, in the order of the frames."""
        engine = self._opened()
        with engine.thread_context():
            self._state = engine.submit(buffer, self._state)

    def wait_for(self, buffer: HostBuffer) -> None:
        """Wait for a frame on the engine; called by the group."""
        engine = self._opened()
        with engine.thread_context():
            engine.collect(buffer)

    def collect(self, buffer: HostBuffer) -> None:
        request = self._requests.pop(buffer, None)
        if request is None:
            return
        request.finished.wait()
        if request.error is not None:
            raise request.error

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def close(self) -> None:
        """End the stream; the engine is the group's."""
        if self._engine is None:
            return
        if self._has_turn:
            self._has_turn = False
            self._group.done(self.member, None)
        for request in list(self._requests.values()):
            request.finished.wait()
        self._requests.clear()
        self._engine = None
        self._group.leave(self.member)


def run_together(pipelines: Sequence[Pipeline]) -> list[StreamReport | BaseException]:
    """Run pipelines at the same time, each on a thread; what each came to, in their order.

    An error of one does not end the others. Ctrl-C stops all of them, and is raised when they have ended.
    """
    results: list[StreamReport | BaseException] = [UsageError("not run")] * len(pipelines)

    def run(index: int) -> None:
        try:
            results[index] = pipelines[index].run()
        except BaseException as error:
            results[index] = error

    threads = [
        threading.Thread(target=run, args=(index,), name=f"livecut-stream-{index + 1}")
        for index in range(len(pipelines))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        for pipeline in pipelines:
            pipeline.stop()
        for thread in threads:
            thread.join()
        raise
    return results
