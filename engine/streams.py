"""Several streams of one process on one device: batches across streams, and a full device that sheds load."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from .backends import Backend, select_backend
from .clock import Clock, MonotonicClock
from .errors import BackendError, UsageError
from .manifest import Manifest
from .pipeline import Pipeline
from .shared_backend import Request, StreamBackend
from .stats import StreamReport
from .turns import BATCHING, Batches, Member, Turns

log = logging.getLogger("livecut")
_UNDER_WAY = 2
"""Batches on an engine at a time: while one is worked on, the next one's frames are brought there. With more
of them frames would wait in small batches instead of joining a larger one."""


class StreamGroup:
    """Streams that share a device: each takes ``backend(...)`` for its own ``Session``.

    Frames of all streams are gathered for at most ``wait_ms`` and go through the network in one inference,
    where engine and model can do that; else they take turns, one after the other. ``describe`` says which. A
    stream takes a frame from its camera only when it is its turn, and turns are given so that no frame takes
    longer than ``bound_ms`` on the device: when there is more to do than it can, cameras drop frames as the
    policy says, and delay stays.

    Streams share one engine for each model and input size. What a model remembers is each stream's own; where
    an engine can remember one stream alone, every stream has an engine of its own, closed with it.

    Parameters
    ----------
    backend : str or callable
        As for ``Session``.
    batch : int
        Frames of one inference at most.
    batching : str
        ``auto``: where it pays, which is on a GPU. ``always``: wherever it can be done. ``never``.
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
        batching: str = "auto",
        wait_ms: float = 2.0,
        bound_ms: float = 33.0,
        most_under_way: int = 16,
        policy: str = "fair",
        clock: Clock | None = None,
    ) -> None:
        if batching not in BATCHING:
            raise UsageError(f"batching: expected one of {', '.join(BATCHING)}, got {batching!r}")
        self._make = select_backend(backend)[0] if isinstance(backend, str) else backend
        self.batching = batching
        self.turns = Turns(most_under_way, bound_ms / 1e3, policy)
        self.batches = Batches(batch, wait_ms / 1e3)
        self.clock = clock or MonotonicClock()
        self.members: list[Member] = []
        self._engines: dict[Any, Backend] = {}
        self._own: dict[StreamBackend, Backend] = {}
        self._changed = threading.Condition()
        self._given: set[Member] = set()
        self._preparing: list[StreamBackend] = []
        self._last_done = 0.0
        self._closed = False
        self._opening = threading.Lock()
        self._running: Counter[Backend] = Counter()
        self._queued: SimpleQueue[tuple[list[Request], float] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"livecut-shared-{name}", daemon=True)
            for name, work in (("queue", self._work), ("finish", self._finish))
        ]
        for thread in self._threads:
            thread.start()

    def backend(self, name: str = "", priority: int = 0) -> Callable[[], Backend]:
        """What a stream's ``Session`` takes as its ``backend``. Streams may join and leave at any time."""
        if self._closed:
            raise UsageError("stream group: already closed; make another")
        member = Member(name or f"stream {len(self.members) + 1}", priority)
        self.members.append(member)
        return lambda: StreamBackend(self, member)

    def describe(self, engine: Backend) -> str:
        """In words: how many share ``engine``, and whether their frames go through it together."""
        if engine.at_once > 1:
            how = f"up to {min(engine.at_once, self.batches.most)} frames in one inference"
        else:
            how = f"one frame after the other ({self._why_turns(engine)})"
        count = f"{len(self.members)} stream{'' if len(self.members) == 1 else 's'}"
        return (
            f"shared by {count}, {self.turns.policy}, {how}, "
            f"at most {1e3 * self.turns.bound_seconds:g} ms on the device"
        )

    def _why_turns(self, engine: Backend) -> str:
        if self.batching == "never" or self.batches.most == 1:
            return "as asked for"
        if self.batching == "auto" and not engine.batch_pays:
            return "batches take a CPU no less time"
        return engine.why_single

    def to_json(self) -> dict[str, Any]:
        """What became of the frames of all streams: whether they went through the network together."""
        with self._opening:
            engines = [*self._engines.values(), *self._own.values()]
        return {
            "batched": any(engine.at_once > 1 for engine in engines),
            "how": "; ".join(dict.fromkeys(map(self.describe, engines))),
            "frames_in_one_inference": {str(n): count for n, count in sorted(self.batches.sizes.items())},
        }

    def close(self) -> None:
        """Close the engines; the streams have ended. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        with self._opening:
            engines = [*self._engines.values(), *self._own.values()]
            self._engines, self._own = {}, {}
        for engine in engines:
            engine.close()

    def __enter__(self) -> StreamGroup:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- for the streams' backends

    def engine(
        self, of: StreamBackend, manifest: Manifest, size_wh: tuple[int, int], options: Any
    ) -> Backend:
        """The engine for a model and size: one for all, or the own one of the stream ``of`` if it must be."""
        key = (manifest.sha256, size_wh, tuple(options.items()))
        with self._opening:
            self._check_open()
            if key in self._engines:
                return self._engines[key]
            engine = self._make()
            if self.batching == "always" or (self.batching == "auto" and engine.batch_pays):
                engine.batch = self.batches.most
            engine.prime = of.prime
            try:
                engine.open(manifest, size_wh, **options)
            except BaseException:
                engine.close()
                raise
            if manifest.state and not engine.state_per_stream:
                self._own[of] = engine
            else:
                self._engines[key] = engine
        log.info("%s at %dx%d: %s", manifest.name, *size_wh, self.describe(engine))
        return engine

    def admit(self, of: StreamBackend) -> None:
        """Wait for a turn of a stream."""
        member = of.member
        with self._changed:
            self._check_open()
            if not self.turns.ask(member):
                self._changed.wait_for(lambda: member in self._given or self._closed)
                self._given.discard(member)
                self._check_open()
            self._preparing.append(of)

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("stream group: closed before its streams had ended")

    def queue(self, request: Request) -> None:
        """A frame that had its turn is ready for the device."""
        engine, alone = request.of.kind
        with self._changed:
            self._preparing.remove(request.of)
            self._check_open()
            self.batches.add(
                request, self.clock.now(), engine=engine, most=request.engine.at_once, alone=alone
            )
            self._changed.notify_all()

    def give_up(self, of: StreamBackend) -> None:
        """A frame that had its turn will not come."""
        with self._changed:
            self._preparing.remove(of)
            self.turns.done(of.member)
            self._give()

    def leave(self, of: StreamBackend) -> None:
        """A stream ends, and with it an engine of its own."""
        own = self._own.pop(of, None)
        with self._changed:
            if of.member in self.members:
                self.members.remove(of.member)
            self.turns.leave(of.member)
            if own is not None:
                del self._running[own]
            self._give()
        if own is not None:
            own.close()

    def _give(self) -> None:
        while (member := self.turns.give()) is not None:
            self._given.add(member)
        self._changed.notify_all()

    # -- two threads: one queues frames on the device, one waits for them, so that a stream that is slow to
    # take its results holds up no other

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            engine, started = batch[0].engine, self.clock.now()
            try:
                with engine.thread_context():
                    states = engine.submit_together(
                        [request.buffer for request in batch], [request.of.state for request in batch]
                    )
                for request, state in zip(batch, states, strict=True):
                    request.of.state = state
            except BaseException as error:  # it is the streams': raised where they collect their frames
                for request in batch:
                    request.error = error
            self._queued.put((batch, started))
        self._queued.put(None)

    def _next_batch(self) -> list[Request] | None:
        """Wait for what goes together; None when the group is closed and nothing is left."""
        with self._changed:
            while True:
                busy = {
                    engine
                    for engine, count in self._running.items()
                    if count >= _UNDER_WAY and engine.at_once > 1
                }
                now = self.clock.now()
                to_come = [] if self._closed else [each.kind for each in self._preparing]
                if batch := self.batches.take(now, to_come, busy):
                    self._running[batch[0].engine] += 1
                    return batch
                if self._closed and not len(self.batches):
                    return None
                due = self.batches.due(busy)
                self._changed.wait(None if due == float("inf") else due - now)

    def _finish(self) -> None:
        while (queued := self._queued.get()) is not None:
            batch, started = queued
            for request in batch:
                try:
                    if request.error is None:
                        with request.engine.thread_context():
                            request.engine.collect(request.buffer)
                except BaseException as error:
                    request.error = error
            self._done(batch, started)
            for request in batch:
                request.finished.set()

    def _done(self, batch: Sequence[Request], started: float) -> None:
        """An inference has come to its end: the turns of its frames are over."""
        with self._changed:
            self._running[batch[0].engine] -= 1
            now = self.clock.now()
            seconds = (now - max(started, self._last_done)) / len(batch)
            self._last_done = now
            for request in batch:
                self.turns.done(request.of.member, seconds if request.error is None else None)
            self._give()


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
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        for pipeline in pipelines:
            pipeline.stop()
        for thread in threads:
            if thread.ident is not None:  # Ctrl-C came before it was started
                thread.join()
        raise
    return results
