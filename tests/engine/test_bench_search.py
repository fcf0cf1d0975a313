"""Sweeps are read, expanded and named; the search finds the largest number of streams that holds."""

import pytest

from livecut.engine.bench.figures import Figures
from livecut.engine.bench.search import Trial, find_streams, judge_trial
from livecut.engine.bench.settings import (
    Settings,
    differences,
    expand,
    parse_duration,
    parse_sweep,
    usual_values,
)
from livecut.engine.errors import BackendError, UsageError

BASE = Settings(backend="null")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), (" 2 m ", 120)]
)
def test_durations_are_written_as_people_do(text, seconds):
    assert parse_duration(text, "--soak") == seconds


@pytest.mark.parametrize("text", ["", "m", "-3", "3d", "0", "1:30"])
def test_other_durations_are_refused_by_the_options_name(text):
    with pytest.raises(UsageError, match="--soak: expected a duration"):
        parse_duration(text, "--soak")


def test_a_duration_of_zero_is_fine_where_it_means_none():
    assert parse_duration("0", "--warm-up", zero=True) == 0


def test_settings_count_the_warm_up_apart():
    settings = Settings(fps=30.0, seconds=10.0, warm_up_seconds=2.0)
    assert (settings.warm_up_frames, settings.frames) == (60, 360)
    assert "seconds=12" in settings.camera(1)
    assert "seed=1" in settings.camera(1)


def test_a_sweep_takes_named_values_or_the_usual_ones():
    found = parse_sweep(["size=1280x720,1920x1080", "threads=1,2,precision=bf16"], BASE)
    assert found == {"size": [(1280, 720), (1920, 1080)], "threads": [1, 2], "precision": ["bf16"]}
    assert parse_sweep(["size,streams=2"], BASE) == {
        "size": [(1280, 720), (1920, 1080), (3840, 2160)],
        "streams": [2],
    }


@pytest.mark.parametrize(
    "axis", ["model", "size", "input-size", "precision", "backend", "threads", "streams"]
)
def test_every_axis_of_the_issue_has_usual_values(axis, monkeypatch):
    assert usual_values(axis, Settings(backend="null"))


def test_usual_input_sizes_are_those_of_the_frames_orientation():
    upright = usual_values("input-size", Settings(size_wh=(1080, 1920)))
    assert upright
    assert all(width <= height for width, height in upright)


@pytest.mark.parametrize("text", ["colour", "colour=red", "3", "size=big", "threads=0", "streams=two"])
def test_a_sweep_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="--sweep"):
        parse_sweep([text], BASE)


def test_a_sweep_is_every_combination_the_last_axis_changing_fastest():
    runs = expand(BASE, {"threads": [1, 2], "streams": [1, 3]})
    assert [(run.threads, run.streams) for run in runs] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert differences(runs)[1] == "threads 1, streams 3"
    assert differences(runs[:1]) == ["the run"]


def test_too_many_combinations_are_refused_with_their_number():
    with pytest.raises(UsageError, match="1000 combinations"):
        expand(BASE, {"threads": list(range(1, 41)), "streams": list(range(1, 26))})


# -- the search


def machine_of(capacity, tried):
    def attempt(streams):
        tried.append(streams)
        held = streams <= capacity
        return Trial(streams, held, 10.0 * streams, 0.0, 30.0 * streams, "" if held else "p99")

    return attempt


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 5, 7, 8, 12, 40])
def test_search_finds_the_capacity_of_a_machine(capacity):
    tried = []
    answer, trials = find_streams(machine_of(capacity, tried), 64)
    assert answer == capacity
    assert [trial.streams for trial in trials] == tried
    assert tried.count(answer) == (2 if answer else 0)  # found, and held once more
    assert len(tried) <= 14


def test_search_stops_at_the_most_it_may_try():
    tried = []
    assert find_streams(machine_of(100, tried), 6)[0] == 6
    assert max(tried) == 6


def test_search_goes_down_when_what_it_found_does_not_hold_again():
    seen = []

    def attempt(streams):
        seen.append(streams)
        held = streams < 4 or (streams == 4 and seen.count(4) == 1)
        return Trial(streams, held, 1.0, 0.0, 1.0, "")

    assert find_streams(attempt, 16)[0] == 3
    assert seen[-2:] == [4, 3]


def test_a_number_of_streams_that_cannot_be_opened_does_not_hold():
    def attempt(streams):
        if streams > 2:
            raise BackendError("out of memory")
        return Trial(streams, True, 1.0, 0.0, 1.0, "")

    answer, trials = find_streams(attempt, 16)
    assert answer == 2
    assert "out of memory" in {trial.why for trial in trials}


def figures(p99=20.0, dropped=0, passed=True):
    data = {
        "frames": {"offered": 1000, "dropped": dropped},
        "fps": 60.0,
        "streams": [{"latency_ms": {"p99": 5.0}}, {"latency_ms": {"p99": p99}}],
    }
    return Figures(data, gate_passed=passed)


@pytest.mark.parametrize(
    ("run", "missed"),
    [
        (figures(), ""),
        (figures(p99=34.0), "p99 34.0 ms"),
        (figures(dropped=1), ""),
        (figures(dropped=9), "0.9% dropped"),
        (figures(passed=False), "wrong output"),
    ],
)
def test_streams_hold_when_the_worst_is_in_time_nearly_nothing_is_dropped_and_all_is_right(run, missed):
    trial = judge_trial(2, run, 33.0)
    assert (trial.held, trial.why) == (not missed, missed)
