"""A stream from source to sink: the stages on threads, in order, with bounded memory, and one way to end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from .buffers import Slot
from .clock import Clock, MonotonicClock
from .compositor import Compositor
from .errors import SourceError, UsageError
from .handoffs import Handoffs
from .pipeline_stages import CAPTURE, INFER, OUTPUT, POSTPROCESS, PREPROCESS, Output, Stages, typed
from .session import Session
from .sharing import Sharing
from .sinks.base import Sink, StreamInfo
from .sources.base import Source, SourceInfo
from .stats import Progress, StreamReport, StreamStats
from .threads import prompt_interpreter

log = logging.getLogger("livecut")
POLICIES = ("auto", "wait", "drop-oldest")
PROGRESS_EVERY_SECONDS = 0.1


class Pipeline:
    """One run of a source through a session into a sink.

    ``wait``: every frame, in order; a slow stage holds up the source. There are three threads, for what comes
    before the network, the network, and what comes after it; where one of the outer two is what holds the
    stream up its stages part (see ``Sharing``), so that the slowest stage decides the rate. ``drop-oldest``:
    the newest frame wins. The camera is read all the time; of the frames that wait for the network only the
    newest stays, and it is taken when the network is free, so what comes out is at most two frames of work
    old. Alpha *k* is only ever laid on picture *k*: both travel in one slot.

    What lies between the threads is in ``Handoffs``. The caller's thread writes to the sink, because windows
    must be drawn from there.

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
        self._handoffs = handoffs = Handoffs(session, self._fail)
        self._forward: Callable[[Slot], None] | None = None
        self._stages: Stages
        self._go: SimpleQueue[Any] = SimpleQueue()
        self._after_capture = handoffs.captured  # whom the capture thread tells that it has ended

    # -- for the caller

    def stop(self) -> None:
        """End the stream: nothing more is read, what is in flight is written, the sink is closed.

        Returns at once; ``run`` returns within five seconds. May be called from any thread and from signal
        handlers.
        """
        self._stop.set()
        self.source.interrupt()
        self._handoffs.wake_caller()

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
            info = self._handoffs.next_for_caller()
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
            self._handoffs.join(threads)
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
        self._handoffs.fill(slots=4 + self.depth, outputs=3)
        threads.append(
            self._thread(
                "infer",
                self._handoffs.work,
                INFER,
                stages.infer,
                self._handoffs.captured,
                self._handoffs.to_caller,
            )
        )
        sharing = Sharing(self.clock.now())

        def forward(slot: Slot) -> None:
            self._handoffs.captured.put(stages.preprocess(slot))
            if sharing.part(slot.durations[CAPTURE], slot.durations[PREPROCESS], self.clock.now()):
                inbox: SimpleQueue[Any] = SimpleQueue()
                self._after_capture = inbox
                threads.append(
                    self._thread(
                        "preprocess",
                        self._handoffs.work,
                        PREPROCESS,
                        stages.preprocess,
                        inbox,
                        self._handoffs.captured,
                    )
                )
                self._forward = inbox.put

        self._go.put(forward)

    def _start_live(self, stages: Stages, threads: list[threading.Thread]) -> Callable[[Any], Output]:
        """Three threads, so that a frame is picked as late as can be: capture, network, and the caller's."""
        # slots: being captured, pending, in the network, being finished
        stages.warm_up(*self._handoffs.fill(slots=4, outputs=2), self.warm_up_rounds)
        self._handoffs.gate = gate = threading.Lock()

        def network(slot: Slot) -> Slot:
            try:
                return stages.infer(
                    stages.preprocess(stages.newest(slot, self._handoffs.captured, self._handoffs.discard))
                )
            except BaseException:
                self.session.withdraw()  # or streams that share the device would wait for it
                raise

        def finish(slot: Slot) -> Output:
            gate.release()  # only now may the network pick its next frame: nothing grows old in between
            return self._finish(slot)

        threads.append(
            self._thread(
                "network",
                self._handoffs.work,
                INFER,
                network,
                self._handoffs.captured,
                self._handoffs.to_caller,
                gate,
            )
        )
        return finish

    # -- loops of the threads

    def _capture_loop(self) -> None:
        try:
            self._handoffs.to_caller.put(self.source.open())
            self._forward = self._go.get()
            while self._forward is not None and not self._stop.is_set():
                slot = self._handoffs.free.get()
                if self._stop.is_set() or not self._stages.capture(slot):
                    break
                self._forward(slot)
        except BaseException as error:
            self._fail(typed(error, CAPTURE), CAPTURE)
        self._after_capture.put(None)
        if not hasattr(self, "_stages"):
            self._handoffs.to_caller.put(None)  # the caller still waits for the source to open
        try:
            self.source.close()
        except Exception as error:
            log.warning("closing the source: %s", error)

    def _forward_newest(self, slot: Slot) -> None:
        """Pass a slot on in the place of the one that still waits, if one does."""
        if self._handoffs.replace_waiting(slot):
            self._stages.stats.dropped += 1

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
            while (item := self._handoffs.next_for_caller()) is not None:
                output = finish(item)
                free, latency = stages.output(output)
                now = self.clock.now()
                seconds = output.durations
                if sharing is not None and sharing.part(seconds[POSTPROCESS], seconds[OUTPUT], now):
                    threads.append(self._part_postprocess())  # type: ignore[union-attr]
                    sharing, finish = None, _unchanged
                if free is not None:
                    self._handoffs.outputs.put(free)
                if self.on_progress is not None and now >= next_progress:
                    next_progress = now + PROGRESS_EVERY_SECONDS
                    self.on_progress(stages.stats.progress(frames, latency))
        except BaseException as error:
            self._fail(error, OUTPUT)
            while (item := self._handoffs.next_for_caller()) is not None:
                self._handoffs.discard(item)

    def _part_postprocess(self) -> threading.Thread:
        """From now on a thread of its own takes what the caller took; the caller takes what that makes."""
        inbox, self._handoffs.to_caller = self._handoffs.to_caller, SimpleQueue()
        return self._thread(
            "postprocess", self._handoffs.work, POSTPROCESS, self._finish, inbox, self._handoffs.to_caller
        )

    def _finish(self, slot: Slot) -> Output:
        output = self._stages.postprocess(slot, self._handoffs.outputs.get())
        slot.frame = None
        self._handoffs.free.put(slot)
        return output

    # -- the end

    def _fail(self, error: BaseException, stage: int) -> None:
        with self._lock:
            if self._error is None:
                self._error, self._handoffs.failed_stage = error, stage
            else:
                log.debug("after the first error: %s", error)
        self.stop()

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
