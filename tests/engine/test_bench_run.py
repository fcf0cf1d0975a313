"""From what a run left behind to its figures: counted by hand on runs whose times are made up."""

import numpy as np
import pytest
from fakes import RedBackend

from livecut.engine.backends.base import BackendInfo
from livecut.engine.bench import statistics
from livecut.engine.bench.figures import Stream, figures
from livecut.engine.bench.gate import GateReport, GateSink
from livecut.engine.bench.marking import marked
from livecut.engine.bench.run import Run, threads_of
from livecut.engine.bench.sampler import Sampler
from livecut.engine.bench.sensors import Reading, Sensor
from livecut.engine.bench.settings import Settings
from livecut.engine.bench.warn import Warn
from livecut.engine.bench.watch import Watch
from livecut.engine.errors import BackendError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.engine.stats import StreamStats

INFO = BackendInfo("red", "test", "fp32", 2)
GOOD = GateReport(outputs=1, checked=1, alpha_mad=3.0, alpha_iou=0.9)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals are tested elsewhere; here they only cost time."""
    monkeypatch.setattr(statistics, "BLOCK_RESAMPLES", 20)


class Constant(Sensor):
    """Always the same reading."""

    name = "constant"

    def __init__(self, **values):
        self.reading = Reading(**values)

    def read(self):
        return self.reading


def sampler_of(seconds, *readings, rss=lambda moment: 100.0):
    """One sample a second from 0, of sensors that show ``readings`` in turn; the last one stays."""
    moment = iter(range(seconds + 1))
    now = [0.0]

    def clock():
        now[0] = float(next(moment))
        return now[0]

    sensor = Constant()
    sampler = Sampler([sensor], clock=clock, cpu=lambda: 0.25 * now[0], rss_mb=lambda: rss(now[0]))
    for second in range(seconds + 1):
        if readings:
            sensor.reading = readings[min(second, len(readings) - 1)]
        sampler.sample()
    return sampler


def finished(index, due, done, frames):
    """A sink after a run."""
    sink = GateSink("RGBA", frames, every=1)
    for position, values in enumerate(zip(index, due, done, strict=True)):
        sink.index[position], sink.due[position], sink.done[position] = values
    sink.count = len(index)
    return sink


def figures_of(settings, sinks, *, sampler=None, watch=None, gate=GOOD, tiny_model, before=INFO, seen=None):
    stats = StreamStats()
    stats.read = settings.frames if seen is None else seen
    report = stats.report(INFO.to_json())
    watch = watch or Watch()
    return figures(
        settings,
        [Stream(sink, report, gate) for sink in sinks],
        manifest=Manifest.load(tiny_model),
        input_wh=(64, 32),
        info=INFO,
        info_before=before,
        opening_seconds=[0.5] * len(sinks),
        started=0.0,
        watch=watch,
        sampler=sampler or sampler_of(20),
    )


def test_warm_up_drops_lateness_and_jitter_are_counted_from_due_times(tiny_model):
    settings = Settings(fps=10.0, seconds=1.0, warm_up_seconds=0.2)
    index = [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]  # 12 frames; 4 and 7 were dropped; 0 and 1 warm up
    due = 1 + np.array(index) / 10
    latency = np.array([0.5, 0.4, 0.02, 0.02, 0.15, 0.02, 0.02, 0.03, 0.02, 0.02])
    told = figures_of(settings, [finished(index, due, due + latency, 12)], tiny_model=tiny_model)
    assert told.data["frames"] == {"offered": 10, "written": 8, "dropped": 2, "late": 1, "warm_up_written": 2}
    assert told.latency_ms["p50"] == pytest.approx(20)
    assert told.latency_ms["max"] == pytest.approx(150)
    assert told.data["warm_up_latency_ms"]["max"] == pytest.approx(500)
    assert told.data["jitter_ms"] == pytest.approx(130)
    assert told.data["fps"] == pytest.approx(7 / 0.9)
    assert told.data["start"]["first_frame_seconds"] == pytest.approx(1.5)
    assert told.data["cpu"]["cores"] == pytest.approx(0.25)
    assert Warn.FEW_SAMPLES in told.warnings


def test_a_run_that_was_stopped_knows_nothing_of_the_frames_after_it(tiny_model):
    settings = Settings(fps=10.0, seconds=10.0, warm_up_seconds=0.0)
    due = 1 + np.arange(20) / 10
    told = figures_of(settings, [finished(range(20), due, due + 0.01, 100)], tiny_model=tiny_model, seen=20)
    assert told.data["frames"]["offered"] == 20
    assert told.dropped == 0


def test_streams_add_up_and_the_worst_one_is_known(tiny_model):
    settings = Settings(fps=10.0, seconds=2.0, warm_up_seconds=0.0, streams=2)
    due = 1 + np.arange(20) / 10
    sinks = [finished(range(20), due, due + latency, 20) for latency in (0.01, 0.05)]
    told = figures_of(settings, sinks, tiny_model=tiny_model)
    assert told.data["frames"]["written"] == 40
    assert told.data["fps"] == pytest.approx(20)
    assert told.worst_p99_ms == pytest.approx(50)
    assert told.latency_ms["p50"] == pytest.approx(30)


def test_energy_is_told_a_frame_and_above_idle(tiny_model):
    settings = Settings(fps=10.0, seconds=10.0, warm_up_seconds=0.0)
    due = 1 + np.arange(100) / 10
    sampler = sampler_of(20, Reading(watts={"VDD_IN": 6.0}))
    told = figures_of(
        settings, [finished(range(100), due, due + 0.1, 100)], tiny_model=tiny_model, sampler=sampler
    )
    told.count_idle({"watts": 4.0})
    energy = told.data["energy"]
    assert energy["watts"] == pytest.approx(6)
    assert energy["joules_per_frame"] == pytest.approx(6 * 10.0 / 100)
    assert energy["joules_per_frame_above_idle"] == pytest.approx(2 * 9.9 / 100)


def steady(seconds=60, fps=10.0, latency=0.01):
    count = round(seconds * fps)
    due = np.arange(count) / fps
    settings = Settings(fps=fps, seconds=seconds, warm_up_seconds=0.0)
    return settings, finished(range(count), due, due + latency, count)


def test_a_quiet_run_warns_of_nothing(tiny_model):
    settings, sink = steady()
    assert figures_of(settings, [sink], tiny_model=tiny_model, sampler=sampler_of(60)).warnings == []


def watched(*warnings):
    watch = Watch()
    watch.warnings += warnings
    return watch


def rising(counter):
    return sampler_of(60, *(Reading(throttled={counter: float(n)}) for n in range(9)))


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"watch": watched(Warn.OTHER_LOAD)}, Warn.OTHER_LOAD),
        ({"sampler": rising("core throttle events")}, Warn.THROTTLED),
        ({"sampler": rising("cgroup quota stops")}, Warn.QUOTA),
        ({"sampler": sampler_of(60, Reading(reasons=("gpu0: power cap",)))}, Warn.THROTTLED),
        (
            {"sampler": sampler_of(60, *[Reading(mhz={"SM": 1900})] * 30, Reading(mhz={"SM": 1500}))},
            Warn.CLOCKS_DOWN,
        ),
        ({"sampler": sampler_of(60, rss=lambda moment: 100 + moment / 5)}, Warn.MEMORY_GROWS),
        (
            {"sampler": sampler_of(60, *(Reading(memory_mb={"gpu0": 900.0 + n / 5}) for n in range(60)))},
            Warn.MEMORY_GROWS,
        ),
        ({"gate": GateReport(checked=3, failed=1)}, Warn.WRONG_OUTPUT),
        ({"before": BackendInfo("other", "test", "fp32", 2)}, Warn.BACKEND_CHANGED),
    ],
)
def test_each_warning_fires_for_what_it_names(changes, warning, tiny_model):
    settings, sink = steady()
    changes = {"sampler": sampler_of(60), **changes}
    assert figures_of(settings, [sink], tiny_model=tiny_model, **changes).warnings == [warning]


def test_noise_and_drift_are_told_apart_from_a_steady_run(tiny_model):
    settings, sink = steady()
    seconds = np.floor(sink.due)
    sink.done = sink.due + np.where(seconds % 2, 0.010, 0.014)
    assert figures_of(settings, [sink], tiny_model=tiny_model, sampler=sampler_of(60)).warnings == [
        Warn.NOISY
    ]
    sink.done = sink.due + 0.010 + 0.00002 * seconds
    assert figures_of(settings, [sink], tiny_model=tiny_model, sampler=sampler_of(60)).warnings == [
        Warn.DRIFT
    ]


def test_a_stream_that_fails_ends_the_others_and_its_error_is_raised(tiny_model):
    class Breaks(RedBackend):
        def infer(self, buffer, state):
            if self.inferred == 40:
                raise BackendError("device lost")
            super().infer(buffer, state)

    def make(settings, number, group):
        backend = Breaks if number == 1 else RedBackend
        return Session(tiny_model, backend=marked(backend, (64, 32)), threads=1)

    settings = Settings(size_wh=(64, 32), fps=30.0, seconds=60.0, paced=False, streams=2)
    with pytest.raises(BackendError, match="device lost"):
        Run(settings, make_session=make, make_reference=make).measure()


def test_a_run_that_is_stopped_before_it_starts_ends_with_an_error_or_few_frames(tiny_model):
    def make(settings, number, group):
        return Session(tiny_model, backend=marked(RedBackend, (64, 32)), threads=1)

    run = Run(Settings(size_wh=(64, 32), fps=30.0, seconds=600.0), make_session=make, make_reference=make)
    run.stop()
    told = run.measure()
    assert told.data["frames"]["written"] <= 8
    assert not told.gate_passed or told.data["gate"]["checked"] > 0


@pytest.mark.parametrize(
    ("streams", "threads", "shared", "expected"),
    [(1, None, False, None), (2, 3, False, 3), (2, None, True, None)],
)
def test_threads_are_those_asked_for_or_all(streams, threads, shared, expected):
    assert threads_of(Settings(streams=streams, threads=threads, shared=shared)) == expected


def test_cores_are_shared_out_among_streams(monkeypatch):
    from livecut.engine.bench import run

    monkeypatch.setattr(run, "available_cpus", lambda: 6)
    assert threads_of(Settings(streams=2)) == 3
    assert threads_of(Settings(streams=12)) == 1


@pytest.mark.parametrize(("batching", "batched"), [("always", True), ("never", False), ("auto", False)])
def test_a_run_says_whether_streams_went_through_the_network_together(tiny_model, batching, batched):
    settings = Settings(
        model=str(tiny_model), size_wh=(64, 32), fps=30.0, seconds=1.0, warm_up_seconds=0.2, paced=False,
        backend="openvino", streams=3, shared=True, batching=batching, threads=1, bound_ms=1e6,
    )  # fmt: skip
    told = Run(settings).measure()
    assert told.gate_passed, told.data["gate"]
    shared = told.data["shared"]
    assert shared["batched"] is batched
    assert told.data["name"].endswith("3 streams, batched" if batched else "3 streams, in turns")
    assert ("up to 4 frames in one inference" in shared["how"]) is batched
    counts = {int(size): times for size, times in shared["frames_in_one_inference"].items()}
    assert sum(size * times for size, times in counts.items()) >= 3 * 36
    assert (set(counts) == {1}) or batched


def test_a_way_of_batching_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="batching: expected auto, always, never, got 'often'"):
        Settings(batching="often")
