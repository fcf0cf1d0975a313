"""Percentiles, blocks, slopes: what every figure of the benchmark rests on."""

import numpy as np
import pytest

from livecut.engine.bench import statistics
from livecut.engine.bench.statistics import (
    by_second,
    frames_for,
    percentile_interval,
    percentile_ratio,
    percentiles,
    slope,
)


@pytest.mark.parametrize(("percent", "frames"), [(95, 90), (99, 459), (99.9, 4603)])
def test_a_percentile_needs_enough_frames_for_one_to_lie_beyond_it(percent, frames):
    assert frames_for(percent) == frames


def test_percentiles_are_of_every_value():
    found = percentiles(np.arange(1, 1001))
    assert found == pytest.approx({"p50": 500.5, "p95": 950.05, "p99": 990.01, "p999": 999.001, "max": 1000})
    assert percentiles([]) == {"p50": 0, "p95": 0, "p99": 0, "p999": 0, "max": 0}


def test_values_are_grouped_by_whole_seconds_and_empty_seconds_are_left_out():
    blocks = by_second([1, 2, 3, 4], [10.0, 10.9, 11.0, 13.5])
    assert [block.tolist() for block in blocks] == [[1, 2], [3], [4]]
    assert by_second([], []) == []
    with pytest.raises(ValueError, match="got 1 and 2"):
        by_second([1, 2], [1.0])


def test_an_interval_over_blocks_is_wider_where_stalls_come_in_seconds(rng, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_RESAMPLES", 300)
    calm = [rng.normal(10, 1, 60) for _ in range(40)]
    stalled = [block + (8 if number % 5 == 0 else 0) for number, block in enumerate(calm)]
    mixed = list(rng.permutation(np.concatenate(stalled)).reshape(40, 60))
    by_stalls, by_chance = (percentile_interval(blocks, 75) for blocks in (stalled, mixed))
    assert by_stalls.high - by_stalls.low > 2 * (by_chance.high - by_chance.low)
    assert by_stalls.value == pytest.approx(by_chance.value)


def test_the_ratio_of_two_runs_of_the_same_thing_holds_one(rng, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_RESAMPLES", 100)
    held = 0
    for _ in range(25):
        first, second = ([rng.lognormal(2, 0.2, 30) for _ in range(12)] for _ in range(2))
        ratio = percentile_ratio(first, second, 50)
        held += ratio.low <= 1 <= ratio.high
    assert held >= 21
    twice = percentile_ratio([2 * block for block in second], second, 99)
    assert twice.value == pytest.approx(2)


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        percentile_interval([], 99)


def test_the_slope_is_that_of_most_pairs_and_one_jump_does_not_tilt_it():
    times = np.arange(50.0)
    values = 3 + 0.5 * times
    values[20] += 1000
    assert slope(values, times) == pytest.approx(0.5)
    assert slope(np.ones(2000), np.arange(2000.0)) == 0
    assert slope([1.0], [1.0]) == 0
