"""A stream from source to sink: the stages on threads, in order, with bounded memory, and one way to end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from .buffers import Slot
from .clock import Clock, MonotonicClock
from .compositor import Compositor
from .errors import SourceError, UsageError
from .pipeline_stages import CAPTURE, INFER, OUTPUT, POSTPROCESS, PREPROCESS, Output, Stages, typed
from .session import Session
from .sharing import Sharing
from .sinks.base import Sink, StreamInfo
from .sources.base import Source, SourceInfo
from .stats import Progress, StreamReport, StreamStats
from .threads import prompt_interpreter

log = logging.getLogger("livecut")
POLICIES = ("auto", "wait", "drop-oldest")
DRAIN_SECONDS = 4.0
"""After ``stop``, frames in flight have this long to reach the sink; closing it comes on top."""
PROGRESS_EVERY_SECONDS = 0.1
_WAKE = object()


class Pipeline:
    """One run of a source through a session into a sink.

    ``wait``: every frame, in order; a slow stage holds up the source. There are three threads, for what comes
    before the network, the network, and what comes after it; where one of the outer two is what holds the
    stream up its stages part (see ``Sharing``), so that the slowest stage decides the rate. ``drop-oldest``:
    the newest frame wins. The camera is read all the time; of the frames that wait for the network only the
    newest stays, and it is taken when the network is free, so what comes out is at most two frames of work
    old. Alpha *k* is only ever laid on picture *k*: both travel in one slot.

    Hand-offs between threads are C queues of reused slots; how much can wait is bounded by how many slots
    there are. The caller's thread writes to the sink, because windows must be drawn from there.

    Parameters
    ----------
    source, sink : Source, Sink
        Not yet open; the pipeline opens and closes them.
    session : Session
        Stays open; reset at the start.
    compositor : Compositor
        Its ``output`` must be one of the sink's ``accepts``, see ``choose_output``.
    policy : str
        ``wait``, ``drop-oldest``, or ``auto``: drop-oldest where the source is live.
    clock : Clock, optional
        The clock of the source's ``due_seconds``.
    depth : int
        With ``wait``: how many frames may lie between stages, beyond the one in each.
    warm_up_rounds : int
        With ``drop-oldest``: how often each slot runs on a blank frame before the camera is switched on;
        eight take about 0.3 s at 1080p.
    on_progress : callable, optional
        Called with a ``Progress`` about ten times a second, on the caller's thread.
    """

    def __init__(
        self,
        source: Source,
        session: Session,
        compositor: Compositor,
        sink: Sink,
        *,
        policy: str = "auto",
        clock: Clock | None = None,
        depth: int = 2,
        warm_up_rounds: int = 8,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise UsageError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
        if compositor.output not in sink.accepts:
            raise UsageError(
                f"the sink takes {', '.join(sink.accepts)}, the compositor makes {compositor.output}"
            )
        if depth < 0:
            raise UsageError(f"depth: expected at least 0, got {depth}")
        self.source, self.session, self.compositor, self.sink = source, session, compositor, sink
        self.policy, self.depth, self.on_progress = policy, depth, on_progress
        self.warm_up_rounds = warm_up_rounds
        self.clock = clock or MonotonicClock()
        self.report: StreamReport | None = None
        """The figures, also after an error; None until ``run`` has ended."""
        self._stop = threading.Event()
        self._started = False
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._failed_stage = -1
        self._deadline: float | None = None
        self._gate: Any = None
        self._forward: Callable[[Slot], None] | None = None
        self._stages: Stages
        self._go: SimpleQueue[Any] = SimpleQueue()
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._captured: SimpleQueue[Any] = SimpleQueue()
        self._after_capture = self._captured  # whom the capture thread tells that it has ended
        self._to_caller: SimpleQueue[Any] = SimpleQueue()
        self._outputs: SimpleQueue[Any] = SimpleQueue()

    # -- for the caller

    def stop(self) -> None:
        """End the stream: nothing more is read, what is in flight is written, the sink is closed.

        Returns at once; ``run`` returns within five seconds. May be called from any thread and from signal
        handlers.
        """
        self._stop.set()
        self.source.interrupt()
        self._to_caller.put(_WAKE)

    def run(self) -> StreamReport:
        """Run the stream to its end, and return its figures.

        Raises
        ------
        LivecutError
            The first error of any stage. The sink has been closed by then, so what was written is playable,
            or aborted if nothing was; ``report`` holds the figures.
        """
        if self._started:
            raise UsageError("pipeline: runs once; make another")
        self._started = True
        threads = [self._thread("capture", self._capture_loop)]
        stats: StreamStats | None = None
        sink_is_open = False
        try:
            info = self._next()
            if info is not None:
                self.session.warm_up((info.width, info.height), self.compositor)
                self.session.reset()
                self.sink.open(self._stream_info(info))
                sink_is_open = True
                live_fps = info.fps if info.is_live else None
                stats = StreamStats(frame_seconds=1 / live_fps if live_fps else None)
                self._stages = stages = Stages(
                    self.source, self.session, self.compositor, self.sink, self.clock, info, stats
                )
                live = self.policy == "drop-oldest" or (self.policy == "auto" and info.is_live)
                if live:
                    finish = self._start_live(stages, threads)
                    self._go.put(self._forward_newest)
                    with prompt_interpreter():
                        self._output_loop(stages, finish, info.frames)
                else:
                    self._start_wait(stages, threads)
                    self._output_loop(stages, self._finish, info.frames, threads)
        except BaseException as error:
            self._fail(error, OUTPUT)
        self._go.put(None)
        try:
            self._join(threads)
        finally:  # also when a second Ctrl-C ends the waiting
            if sink_is_open:
                self._end_sink(stats)
        if stats is not None:
            self.report = stats.report(self.session.info.to_json())
        if self._error is not None:
            raise self._error
        if self.report is None:
            raise SourceError("stopped before the source was open")
        return self.report

    # -- set-up

    def _stream_info(self, info: SourceInfo) -> StreamInfo:
        return StreamInfo(
            info.width,
            info.height,
            self.compositor.output,
            fps=info.fps,
            frames=info.frames,
            is_live=info.is_live,
            matrix=info.matrix,
            full_range=info.full_range,
            audio=info.audio,
            source=info.name,
        )

    def _thread(self, name: str, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name=f"livecut-{name}", daemon=True)
        thread.start()
        return thread

    def _start_wait(self, stages: Stages, threads: list[threading.Thread]) -> None:
        """Capture with preprocess, network, and the caller with postprocess; two more when they pay."""
        # outputs: being composed, being written, the last good one
        self._fill(slots=4 + self.depth, outputs=3)
        threads.append(
            self._thread("infer", self._work_loop, INFER, stages.infer, self._captured, self._to_caller)
        )
        sharing = Sharing(self.clock.now())

        def forward(slot: Slot) -> None:
            self._captured.put(stages.preprocess(slot))
            if sharing.part(slot.durations[CAPTURE], slot.durations[PREPROCESS], self.clock.now()):
                inbox: SimpleQueue[Any] = SimpleQueue()
                self._after_capture = inbox
                threads.append(
                    self._thread(
                        "preprocess", self._work_loop, PREPROCESS, stages.preprocess, inbox, self._captured
                    )
                )
                self._forward = inbox.put

        self._go.put(forward)

    def _start_live(self, stages: Stages, threads: list[threading.Thread]) -> Callable[[Any], Output]:
        """Three threads, so that a frame is picked as late as can be: capture, network, and the caller's."""
        # slots: being captured, pending, in the network, being finished
        stages.warm_up(*self._fill(slots=4, outputs=2), self.warm_up_rounds)
        self._gate = gate = threading.Lock()

        def network(slot: Slot) -> Slot:
            return stages.infer(stages.preprocess(stages.newest(slot, self._captured, self._discard)))

        def finish(slot: Slot) -> Output:
            gate.release()  # only now may the network pick its next frame: nothing grows old in between
            return self._finish(slot)

        threads.append(
            self._thread("network", self._work_loop, INFER, network, self._captured, self._to_caller, gate)
        )
        return finish

    def _fill(self, slots: int, outputs: int) -> tuple[list[Slot], list[Output]]:
        made = [Slot() for _ in range(slots)], [Output() for _ in range(outputs)]
        for slot in made[0]:
            self._free.put(slot)
        for output in made[1]:
            self._outputs.put(output)
        return made

    # -- loops of the threads

    def _capture_loop(self) -> None:
        try:
            self._to_caller.put(self.source.open())
            self._forward = self._go.get()
            while self._forward is not None and not self._stop.is_set():
                slot = self._free.get()
                if self._stop.is_set() or not self._stages.capture(slot):
                    break
                self._forward(slot)
        except BaseException as error:
            self._fail(typed(error, CAPTURE), CAPTURE)
        self._after_capture.put(None)
        if not hasattr(self, "_stages"):
            self._to_caller.put(None)  # the caller still waits for the source to open
        try:
            self.source.close()
        except Exception as error:
            log.warning("closing the source: %s", error)

    def _forward_newest(self, slot: Slot) -> None:
        """Pass a slot on in the place of the one that still waits, if one does."""
        try:
            waiting = self._captured.get_nowait()
        except Empty:
            pass
        else:
            if slot.frame.repeated and not waiting.frame.repeated:
                waiting, slot = slot, waiting  # a repeat shows nothing new: it never displaces a picture
            self._stages.stats.dropped += 1
            self._discard(waiting)
        self._captured.put(slot)

    def _work_loop(
        self,
        stage: int,
        work: Callable[[Any], Any],
        inbox: SimpleQueue[Any],
        outbox: SimpleQueue[Any],
        gate: Any = None,
    ) -> None:
        item = None
        try:
            while True:
                if gate is not None:
                    gate.acquire()
                item = inbox.get()
                if item is None:
                    break
                if item is _WAKE:  # meant for the caller, before this thread took its inbox over
                    outbox.put(item)
                elif self._failed_stage > stage:  # nobody will take what this would make
                    self._discard(item)
                else:
                    outbox.put(work(item))
        except BaseException as error:
            self._fail(error, stage)
            while item is not None:
                if item is not _WAKE:
                    self._discard(item)
                item = inbox.get()
        outbox.put(None)

    def _output_loop(
        self,
        stages: Stages,
        finish: Callable[[Any], Output],
        frames: int | None,
        threads: list[threading.Thread] | None = None,
    ) -> None:
        """Write what comes; with ``threads``, postprocessing may move to one of its own."""
        next_progress = 0.0
        sharing = None if threads is None else Sharing(self.clock.now())
        try:
            while (item := self._next()) is not None:
                output = finish(item)
                free, latency = stages.output(output)
                now = self.clock.now()
                seconds = output.durations
                if sharing is not None and sharing.part(seconds[POSTPROCESS], seconds[OUTPUT], now):
                    threads.append(self._part_postprocess())  # type: ignore[union-attr]
                    sharing, finish = None, _unchanged
                if free is not None:
                    self._outputs.put(free)
                if self.on_progress is not None and now >= next_progress:
                    next_progress = now + PROGRESS_EVERY_SECONDS
                    self.on_progress(stages.stats.progress(frames, latency))
        except BaseException as error:
            self._fail(error, OUTPUT)
            while (item := self._next()) is not None:
                self._discard(item)

    def _part_postprocess(self) -> threading.Thread:
        """From now on a thread of its own takes what the caller took; the caller takes what that makes."""
        inbox, self._to_caller = self._to_caller, SimpleQueue()
        return self._thread("postprocess", self._work_loop, POSTPROCESS, self._finish, inbox, self._to_caller)

    def _finish(self, slot: Slot) -> Output:
        output = self._stages.postprocess(slot, self._outputs.get())
        slot.frame = None
        self._free.put(slot)
        return output

    def _discard(self, item: Slot | Output) -> None:
        """Give back what will not be used, so that whoever waits for it goes on and sees the end."""
        if isinstance(item, Slot):
            self.session.give_up(item)
            self._free.put(item)
        else:
            self._outputs.put(item)
        if self._gate is not None and self._failed_stage >= 0 and self._gate.locked():
            self._gate.release()

    def _next(self) -> Any:
        """What comes next for the caller's thread; None at the end, or when draining takes too long."""
        while True:
            try:
                wait = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
                item = self._to_caller.get(timeout=wait)
            except Empty:
                log.warning("frames in flight did not finish within %g s", DRAIN_SECONDS)
                return None
            if item is not _WAKE:
                return item
            self._deadline = self._deadline or time.monotonic() + DRAIN_SECONDS

    # -- the end

    def _fail(self, error: BaseException, stage: int) -> None:
        with self._lock:
            if self._error is None:
                self._error, self._failed_stage = error, stage
            else:
                log.debug("after the first error: %s", error)
        self.stop()

    def _join(self, threads: list[threading.Thread]) -> None:
        deadline = self._deadline or time.monotonic() + DRAIN_SECONDS
        for thread in threads:
            thread.join(max(0.1, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("thread %s does not end and is left behind", thread.name)

    def _end_sink(self, stats: StreamStats | None) -> None:
        try:
            if stats is None or stats.written == 0:
                log.warning("no frame was written: nothing is left in the output")
                self.sink.abort()
            else:
                self.sink.close()
        except BaseException as error:
            self._fail(typed(error, OUTPUT), OUTPUT)
            self.sink.abort()


def _unchanged(output: Output) -> Output:
    return output
