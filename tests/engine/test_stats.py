"""Percentiles of unlimited streams in limited memory; the report's exact keys."""

import json
import sys

import numpy as np
import pytest

from livecut.engine.stats import STAGES, Histogram, StreamStats


@pytest.mark.parametrize("q", [0.1, 50, 95, 99, 99.9, 100])
def test_percentiles_are_within_one_per_cent(rng, q):
    durations = rng.lognormal(-5, 1.5, 19_999)
    histogram = Histogram()
    for seconds in durations:
        histogram.add(float(seconds))
    exact = np.percentile(durations, q, method="inverted_cdf")
    assert histogram.percentile(q) == pytest.approx(exact, rel=0.01)


def test_the_maximum_is_exact_and_no_percentile_exceeds_it():
    histogram = Histogram()
    for seconds in (0.001, 0.0123456):
        histogram.add(seconds)
    assert histogram.maximum == 0.0123456
    assert histogram.percentile(100) <= 0.0123456
    assert histogram.mean == pytest.approx((0.001 + 0.0123456) / 2)


def test_an_empty_histogram_is_zero():
    assert (Histogram().percentile(99), Histogram().maximum, Histogram().mean) == (0.0, 0.0, 0.0)


def test_extreme_durations_are_counted_not_lost():
    histogram = Histogram()
    for seconds in (-1e-9, 0.0, 1e-12, 1e9):
        histogram.add(seconds)
    assert histogram.count == 4
    assert histogram.percentile(1) <= 2e-6


def test_a_histogram_does_not_grow(rng):
    histogram = Histogram()
    before = sys.getsizeof(histogram._counts)
    for seconds in rng.lognormal(-5, 3, 5_000):
        histogram.add(float(seconds))
    assert sys.getsizeof(histogram._counts) == before


def written(stats, frames, *, fps=50.0, latency=0.01):
    for index in range(frames):
        due = 100 + index / fps
        stats.frame_read(index)
        stats.frame_written(due, due + latency)


def test_report_has_exactly_the_promised_keys():
    stats = StreamStats()
    written(stats, 3)
    report = stats.report({"name": "null", "device": "none", "precision": "none", "threads": 0}).to_json()
    assert set(report) == {
        "frames_in", "frames_out", "dropped", "late", "fps", "latency_ms", "jitter_ms", "stages", "backend",
        "cpu_seconds_per_frame", "rss_mb",
    }  # fmt: skip
    assert set(report["latency_ms"]) == {"p50", "p95", "p99", "p999", "max"}
    assert set(report["stages"]) == set(STAGES)
    assert all(set(times) == {"p50", "p99"} for times in report["stages"].values())
    assert set(report["backend"]) == {"name", "device", "precision", "threads"}
    assert set(report["rss_mb"]) == {"start", "end", "max"}
    assert json.loads(json.dumps(report)) == report


def test_rate_counts_intervals_not_frames():
    stats = StreamStats()
    written(stats, 51, fps=50.0)
    assert stats.report({}).fps == pytest.approx(50.0)


def test_a_steady_stream_has_no_jitter_and_an_uneven_one_has():
    steady, uneven = StreamStats(), StreamStats()
    written(steady, 20)
    for index in range(20):
        uneven.frame_read(index)
        uneven.frame_written(index / 50, index / 50 + 0.004 * (index % 2))
    assert steady.report({}).jitter_ms == pytest.approx(0, abs=1e-3)
    assert uneven.report({}).jitter_ms == pytest.approx(4, rel=0.01)


def test_frames_later_than_one_frame_time_are_late():
    stats = StreamStats(frame_seconds=0.02)
    for index, latency in enumerate((0.019, 0.021, 0.5)):
        stats.frame_read(index)
        stats.frame_written(index, index + latency)
    assert stats.report({}).late == 2


def test_gaps_in_the_index_count_as_frames_the_source_lost():
    stats = StreamStats()
    for index in (0, 1, 4):
        stats.frame_read(index)
        stats.frame_written(index, index)
    report = stats.report({})
    assert (report.frames_in, report.frames_out, report.dropped) == (5, 3, 2)
