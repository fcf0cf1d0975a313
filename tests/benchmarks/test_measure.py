"""The statistics: intervals that cover, warnings that fire, turns that alternate. Nothing here is timed."""

import numpy as np
import pytest

from benchmarks import measure
from benchmarks.measure import Summary, Warn, interleave, median_interval, paired_ratio, unpaired_ratio
from livecut.engine.bench import statistics
from livecut.engine.bench import watch as watching


class CountingClock:
    """Stands in for ``time.perf_counter``: each contender advances it by its own cost."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = CountingClock()
    monkeypatch.setattr(measure, "time", clock)
    return clock


class StillMachine:
    """A watch that sees nothing wrong."""

    warnings = ()

    def __enter__(self):
        self.warnings = []
        return self

    def __exit__(self, *_):
        pass


def test_interleave_measures_what_each_contender_costs(clock):
    def cost(seconds):
        def call():
            clock.now += seconds

        return call

    result = interleave({"a": cost(0.004), "b": cost(0.001)}, rounds=20, watch=StillMachine())
    assert result.contenders["a"].median == pytest.approx(4.0)
    assert result.contenders["b"].median == pytest.approx(1.0)
    ratio = result.ratio("a", "b")
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((4, 4, 4))
    assert result.warnings == []


def test_interleave_goes_through_contenders_back_and_forth(clock):
    turns = []

    def contender(name):
        def call():
            clock.now += 0.02
            turns.append(name)

        return call

    interleave({"a": contender("a"), "b": contender("b")}, rounds=2, turn_seconds=0.02, watch=StillMachine())
    after_warm_up = turns[6:]
    # each turn is one call that is not counted and one that is
    assert after_warm_up == ["a", "a", "b", "b", "b", "b", "a", "a"]


def test_interleave_cancels_a_machine_that_slows_down(clock):
    state = {"calls": 0}

    def contender(factor):
        def call():
            state["calls"] += 1
            clock.now += factor * (0.01 + 1e-5 * state["calls"])

        return call

    result = interleave({"a": contender(2), "b": contender(1)}, rounds=40, watch=StillMachine())
    assert result.ratio("a", "b").value == pytest.approx(2, rel=0.02)
    assert Warn.DRIFT in result.warnings


def test_interleave_switches_collection_on_again_after_a_contender_failed(clock):
    import gc

    def broken():
        clock.now += 0.1
        if clock.now > 0.5:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        interleave({"a": broken}, rounds=5, watch=StillMachine())
    assert gc.isenabled()


@pytest.mark.parametrize("ratio_of", [paired_ratio, unpaired_ratio])
def test_interval_holds_the_true_ratio_about_as_often_as_it_says(ratio_of, rng, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    held = 0
    for _ in range(200):
        top, bottom = 3 * rng.lognormal(0, 0.1, 30), rng.lognormal(0, 0.1, 30)
        interval = ratio_of(top, bottom)
        held += interval.low <= 3 <= interval.high
    assert held >= 175  # 190 expected; the bootstrap of a median is a little generous or stingy at 30 samples


def test_paired_interval_is_narrower_when_both_share_the_noise(rng):
    shared = rng.lognormal(0, 0.5, 60)
    top, bottom = 2 * shared, shared
    paired, unpaired = paired_ratio(top, bottom), unpaired_ratio(top, bottom)
    assert paired.high - paired.low < 1e-9
    assert unpaired.high - unpaired.low > 0.1


def test_paired_ratio_refuses_runs_of_different_length():
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_ratio([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="got 0 and 0"):
        paired_ratio([], [])


def test_median_interval_encloses_the_median(rng):
    interval = median_interval(rng.normal(10, 1, 50))
    assert interval.low < interval.value < interval.high


def test_intervals_are_the_same_every_time(rng):
    samples = rng.normal(10, 1, 25)
    assert median_interval(samples) == median_interval(samples)
    assert paired_ratio(samples, samples + 1) == paired_ratio(samples, samples + 1)


def test_summary_reports_median_spread_and_samples():
    summary = Summary((1.0, 2.0, 3.0, 4.0, 100.0))
    data = summary.to_json()
    assert data["median"] == 3.0
    assert data["samples"] == [1, 2, 3, 4, 100]
    assert summary.spread == pytest.approx(2 / 3)


def test_summary_without_six_samples_has_no_drift():
    assert Summary((1.0, 5.0)).drift == 0


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([10.0] * 20, set()),
        ([10.0] * 5, {Warn.FEW_SAMPLES}),
        ([10.0, 14.0] * 15, {Warn.NOISY}),
        ([10.0] * 15 + [11.0] * 15, {Warn.DRIFT}),
    ],
)
def test_sample_warnings_fire_for_what_they_name(samples, expected):
    assert set(measure.sample_warnings({"a": Summary(tuple(samples))})) == expected


def test_every_warning_says_what_it_means():
    for warning in Warn:
        assert len(warning.meaning) > 20


def test_watch_warns_of_other_processes_stolen_time_and_a_changed_clock(monkeypatch):
    wall, busy, yard = iter([100.0, 110.0]), iter([(50.0, 1.0), (58.0, 2.0)]), iter([1.0, 1.2])
    own = iter([5.0, 6.0])
    monkeypatch.setattr(watching.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(watching, "_machine_seconds", lambda: next(busy))
    monkeypatch.setattr(watching, "_own_seconds", lambda: next(own))
    monkeypatch.setattr(watching, "yardstick", lambda: next(yard))
    with measure.Watch() as watch:
        pass
    assert watch.other_cores == pytest.approx(0.7)
    assert watch.warnings == [Warn.OTHER_LOAD, Warn.STOLEN, Warn.CLOCK]


def test_watch_counts_this_machine_without_error():
    with measure.Watch() as watch:
        np.ones(1000).sum()
    assert watch.other_cores >= 0
    assert watch.clock_ratio > 0


def test_paired_difference_cancels_what_both_share(rng):
    shared = rng.lognormal(0, 0.5, 40)
    difference = measure.paired_difference(shared + 3, shared)
    assert (difference.low, difference.value, difference.high) == pytest.approx((3, 3, 3), abs=0.5)
    with pytest.raises(ValueError, match="got 1 and 2"):
        measure.paired_difference([1], [1, 2])
