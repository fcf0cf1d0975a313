"""One timed run: cameras that never wait, pipelines as they ship, and a look at what came out."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..backends import Backend, select_backend
from ..clock import Clock, MonotonicClock
from ..compositor import Compositor
from ..errors import BackendError
from ..pipeline import Pipeline
from ..registry import load_manifest
from ..session import Session
from ..sources.synthetic import SyntheticSource
from ..stats import Progress, StreamReport
from ..streams import StreamGroup
from ..threads import available_cpus
from .figures import Figures, Stream, figures
from .gate import GateReport, GateSink, Offline, judge
from .marking import marked
from .sampler import Sampler
from .sensors import Sensor
from .settings import Settings
from .watch import Watch

if TYPE_CHECKING:
    from ..sources.scene import Scene

CHECKS = 24
"""Outputs of a run that are compared with the offline reference, all streams together."""

SessionMaker = Callable[[Settings, int, StreamGroup | None], Session]


def open_session(
    settings: Settings,
    number: int,
    group: StreamGroup | None = None,
    *,
    make: Callable[[], Backend] | None = None,
) -> Session:
    """The session of one stream, whose alphas carry the index of their picture.

    A model that begins with a clean plate is given that camera's scene without its product. ``make`` makes
    the backend, in place of the one that the settings name.
    """
    if group is not None:
        make, reason = group.backend(f"stream {number + 1}"), "shared"
    elif make is None:
        make, reason = backend_of(settings)
    else:
        reason = "given by the caller"
    begins_with_plate = load_manifest(settings.model).begins_with == "plate"
    session = Session(
        settings.model,
        backend=marked(make, settings.size_wh) if settings.marked else make,
        precision=settings.precision,
        threads=threads_of(settings),
        size_wh=settings.input_size_wh,
        temporal=settings.temporal,
        post=settings.post,
        plate=scene_of(settings, number, "RGB").new_planes()[0] if begins_with_plate else None,
    )
    session.reason = reason
    return session


def backend_of(settings: Settings) -> tuple[Callable[[], Backend], str]:
    """What makes the backend that is asked for, and why it was taken."""
    return select_backend(
        settings.backend, on_gpu=True if settings.require_gpu else None, rebuild=settings.rebuild
    )


def scene_of(settings: Settings, number: int, format: str = "BGR") -> Scene:
    """What one stream's camera sees."""
    from ..sources.scene import Scene

    return Scene(*settings.size_wh, settings.fps, settings.seed + number, format)


def threads_of(settings: Settings) -> int | None:
    """Threads of each session: those asked for, else the cores shared out among the streams."""
    if settings.threads is not None or settings.streams == 1 or settings.shared:
        return settings.threads
    return max(1, available_cpus() // settings.streams)


class Run:
    """Measures one configuration, once.

    Parameters
    ----------
    settings : Settings
    sensors : sequence of Sensor
        Looked at every second, in long runs less often.
    make_session, make_reference : callable
        The session that is timed, and the one its outputs are compared with afterwards.
    clock : Clock
        Of cameras, pipelines and sinks.
    on_progress : callable, optional
        Called with the first stream's progress about ten times a second.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sensors: Sequence[Sensor] = (),
        make_session: SessionMaker = open_session,
        make_reference: SessionMaker = open_session,
        clock: Clock | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.settings, self.sensors, self.on_progress = settings, sensors, on_progress
        self.make_session, self.make_reference = make_session, make_reference
        self.clock = clock or MonotonicClock()
        self._pipelines: list[Pipeline] = []
        self._stopped = False

    def stop(self) -> None:
        """End the run early; what was measured until then is reported. From any thread."""
        self._stopped = True
        for pipeline in list(self._pipelines):
            pipeline.stop()

    def measure(self) -> Figures:
        """Open, run, close, compare.

        Raises
        ------
        LivecutError
            What opening a session or running a stream raises.
        """
        settings, now = self.settings, self.clock.now
        gc.collect()  # what an earlier run left in cycles must not count as memory of this one
        sessions: list[Session] = []
        opening: list[float] = []
        sinks: list[GateSink] = []
        group: StreamGroup | None = None
        if settings.shared:
            make = backend_of(settings)[0]
            group = StreamGroup(make, bound_ms=settings.bound_ms, batching=settings.batching)
        try:
            for number in range(settings.streams):
                start = now()
                sessions.append(self.make_session(settings, number, group))
                before = sessions[-1].warm_up(settings.size_wh)
                opening.append(now() - start)
            every = max(1, settings.frames * settings.streams // CHECKS)
            for number, session in enumerate(sessions):
                sinks.append(
                    GateSink(
                        settings.output, settings.frames, every=every, seed=settings.seed + number, clock=now
                    )
                )
                self._pipelines.append(
                    Pipeline(
                        SyntheticSource(settings.camera(number), clock=self.clock),
                        session,
                        Compositor(settings.output),
                        sinks[-1],
                        clock=self.clock,
                        on_progress=self.on_progress if number == 0 else None,
                    )
                )
            if self._stopped:
                self.stop()  # it came before there was a pipeline to stop
            watch, sampler = Watch(), Sampler(self.sensors, lasting=settings.frames / settings.fps, clock=now)
            if group is not None:
                group.batches.sizes.clear()  # those of the warm-up
            with watch, sampler:
                started = now()
                reports = run_all(self._pipelines)
            info = sessions[0].info  # what ran in the end: an engine may have failed meanwhile
            shared = group.to_json() if group is not None else None
            manifest = sessions[0].manifest
            input_wh = sessions[0].size_wh or manifest.size_for(settings.size_wh)
        finally:
            for session in sessions:
                session.close()
            if group is not None:
                group.close()
        gates = self._judge(sinks)
        streams = [
            Stream(sink, report, gate) for sink, report, gate in zip(sinks, reports, gates, strict=True)
        ]
        return figures(
            settings, streams, manifest=manifest, input_wh=input_wh, info=info, info_before=before,
            opening_seconds=opening, started=started, watch=watch, sampler=sampler, shared=shared,
        )  # fmt: skip

    def _judge(self, sinks: Sequence[GateSink]) -> list[GateReport]:
        """Do each stream's checked frames again with a session that was not timed."""
        reports = []
        for number, sink in enumerate(sinks):
            report = self._compare(sink, number, self.settings)
            if not (report.passed or sink.is_marked or self._stopped):
                # Whole frames on a GPU pass the marking by: then they must equal frames without it.
                without = self._compare(sink, number, replace(self.settings, marked=False))
                report = without if without.passed else report
            reports.append(report)
        return reports

    def _compare(self, sink: GateSink, number: int, settings: Settings) -> GateReport:
        # Who stopped the run waits for its end: one comparison is quick.
        checks = 1 if self._stopped else max(4, CHECKS // settings.streams)
        with self.make_reference(settings, number, None) as reference:
            offline = Offline(reference, scene_of(settings, number), settings.output, settings.fps)
            return judge(sink, offline, checks=checks)


def run_all(pipelines: Sequence[Pipeline]) -> list[StreamReport]:
    """Run every pipeline at the same time, the first on this thread; the first error ends all of them."""
    errors: list[BaseException] = []

    def run(pipeline: Pipeline) -> None:
        try:
            pipeline.run()
        except BaseException as error:
            errors.append(error)
            for other in pipelines:
                if other is not pipeline:
                    other.stop()

    threads = [
        threading.Thread(target=run, args=(pipeline,), name=f"livecut-stream-{number}", daemon=True)
        for number, pipeline in enumerate(pipelines[1:], start=1)
    ]
    for thread in threads:
        thread.start()
    run(pipelines[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    reports = [pipeline.report for pipeline in pipelines]
    if any(report is None for report in reports):
        raise BackendError("a stream ended without a report")
    return [report for report in reports if report is not None]
