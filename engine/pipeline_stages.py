"""What happens to one frame, stage by stage. No threads here: ``pipeline`` says who calls what, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from .buffers import Slot
from .clock import Clock
from .compositor import Compositor
from .errors import BackendError, LivecutError, SinkError, SourceError
from .fitting import fit_frame
from .frame import Frame
from .session import Session
from .sinks.base import Sink
from .sources.base import Source, SourceInfo
from .stats import STAGES, StreamStats

CAPTURE, PREPROCESS, INFER, POSTPROCESS, OUTPUT = range(5)
_KINDS: tuple[type[LivecutError], ...] = (SourceError, LivecutError, BackendError, LivecutError, SinkError)


@dataclass(slots=True, eq=False)
class Output:
    """One output frame on its way to the sink. Made once, reused for ever."""

    frame: Frame | None = None
    repeat_of: Frame | None = None
    """Set where a source had no picture: its index and times, for the last good output."""
    durations: list[float] = field(default_factory=lambda: [0.0] * 5)


def typed(error: BaseException, stage: int) -> BaseException:
    """The error to surface: ours as they are, anything else as the error of its stage."""
    if isinstance(error, LivecutError) or not isinstance(error, Exception):
        return error
    text = str(error) or type(error).__name__
    return _KINDS[stage](f"{STAGES[stage]}: {text}")


def _raises_typed(stage: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*arguments: Any) -> Any:
            try:
                return method(*arguments)
            except Exception as error:
                if isinstance(error, LivecutError):
                    raise
                raise typed(error, stage) from error

        return run

    return decorate


class Stages:
    """The five stages of one stream; each is called by one thread at a time, in the order of the frames."""

    def __init__(
        self,
        source: Source,
        session: Session,
        compositor: Compositor,
        sink: Sink,
        clock: Clock,
        info: SourceInfo,
        stats: StreamStats,
    ) -> None:
        self.source, self.session, self.compositor, self.sink = source, session, compositor, sink
        self.clock, self.info, self.stats = clock, info, stats
        self._stream_wh = (info.width, info.height) if sink.fixed_size else None
        self._last: Output | None = None

    @_raises_typed(INFER)
    def warm_up(self, slots: list[Slot], outputs: list[Output], rounds: int) -> None:
        """Run every slot on blank frames, so that the camera's first finds memory touched and threads awake.

        Without it the first frames of a live stream are 20 to 30 ms late. Source and sink are not involved.
        """
        width, height = self.info.width, self.info.height
        blank = Frame((np.zeros((height, width, 3), np.uint8),), "BGR", 0, 0.0, 0.0)
        for _ in range(rounds):
            for number, slot in enumerate(slots):
                self.session.preprocess(blank, slot)
                self.session.infer(slot)
                if not self.compositor.is_video:  # a blank frame must not use up a picture of the background
                    output = outputs[number % len(outputs)]
                    output.frame = self.session.postprocess(slot, self.compositor, output.frame)
        for slot in slots:
            slot.frame = None
        self.session.reset()

    @_raises_typed(CAPTURE)
    def capture(self, slot: Slot) -> bool:
        """Read the next frame into the slot; False at the end of the source."""
        start = self.clock.now()
        frame = self.source.read(slot.recycled)
        if frame is None:
            return False
        slot.frame = frame
        if not frame.repeated:
            slot.recycled = frame
        if self.info.is_live:
            start = max(start, frame.due_seconds)  # waiting for the camera is not work
        slot.durations[CAPTURE] = self.clock.now() - start
        self.stats.frame_read(frame.index)
        return True

    @_raises_typed(INFER)
    def newest(self, slot: Slot, waiting: SimpleQueue[Any], discard: Callable[[Slot], None]) -> Slot:
        """Where streams share a device: wait for this one's turn, and give it what has come meanwhile."""
        if slot.frame.repeated or not self.session.admit():
            return slot
        try:
            newer = waiting.get_nowait()
        except Empty:
            return slot
        if newer is None:
            waiting.put(None)  # the end is still to come
            return slot
        if newer.frame.repeated:
            slot, newer = newer, slot
        self.stats.dropped += 1
        discard(slot)
        return newer

    @_raises_typed(PREPROCESS)
    def preprocess(self, slot: Slot) -> Slot:
        """Fill the network's input."""
        frame: Frame = slot.frame
        if frame.repeated:
            return slot
        start = self.clock.now()
        if self._stream_wh is not None and (frame.width, frame.height) != self._stream_wh:
            frame = slot.fitted = fit_frame(frame, self._stream_wh, slot.fitted)
        self.session.preprocess(frame, slot)
        slot.durations[PREPROCESS] = self.clock.now() - start
        return slot

    @_raises_typed(INFER)
    def infer(self, slot: Slot) -> Slot:
        """Run the network; on a device that works by itself, only start it."""
        if not slot.frame.repeated:
            start = self.clock.now()
            self.session.submit(slot)
            slot.durations[INFER] = self.clock.now() - start
        return slot

    @_raises_typed(INFER)
    def _collect(self, slot: Slot) -> None:
        if slot.in_flight:
            start = self.clock.now()
            self.session.collect(slot)
            slot.durations[INFER] += self.clock.now() - start

    @_raises_typed(POSTPROCESS)
    def postprocess(self, slot: Slot, output: Output) -> Output:
        """Compose the output; the slot is free afterwards."""
        frame: Frame = slot.frame
        if frame.repeated:
            output.repeat_of = frame
            return output
        self._collect(slot)
        start = self.clock.now()
        output.repeat_of = None
        output.frame = self.session.postprocess(slot, self.compositor, output.frame)
        output.durations[:POSTPROCESS] = slot.durations
        output.durations[POSTPROCESS] = self.clock.now() - start
        return output

    @_raises_typed(OUTPUT)
    def output(self, output: Output) -> tuple[Output | None, float]:
        """Write to the sink.

        Returns
        -------
        Output or None
            What may be reused now: the last good output is kept until there is a newer one.
        float
            Latency of the frame in seconds.
        """
        start = self.clock.now()
        if output.repeat_of is None:
            free, self._last = self._last, output
        elif self._last is None:
            return output, 0.0  # the source has had no picture yet: nothing to repeat
        else:
            free, repeat = output, output.repeat_of
            output.repeat_of = None
            shown: Frame = self._last.frame  # type: ignore[assignment]
            shown.index, shown.pts_seconds = repeat.index, repeat.pts_seconds
            shown.due_seconds = repeat.due_seconds
        frame: Frame = self._last.frame  # type: ignore[assignment]
        self.sink.write(frame)
        now = self.clock.now()
        if free is not output:
            durations, stages = output.durations, self.stats.stages
            durations[OUTPUT] = now - start
            for name, seconds in zip(STAGES, durations, strict=True):
                stages[name].add(seconds)
        return free, self.stats.frame_written(frame.due_seconds, now)
