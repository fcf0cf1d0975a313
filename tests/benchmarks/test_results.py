"""Verdicts, the shape of the file, the table."""

import json

import pytest

from benchmarks import machine, results
from benchmarks.__main__ import BENCHMARKS, main, summary
from benchmarks.measure import Ratio, Summary, Warn
from benchmarks.results import MISS, PASS, SHOWN, UNSURE, Goal, Row, WrongResult, checked, exact


@pytest.mark.parametrize(
    ("measured", "target", "at_least", "verdict"),
    [
        (Ratio(6, 5.2, 7), 5, True, PASS),
        (Ratio(6, 4.8, 7), 5, True, UNSURE),
        (Ratio(4, 3, 6), 5, True, MISS),
        (Ratio(2, 1.5, 2.9), 3, False, PASS),
        (Ratio(2, 1.5, 3.1), 3, False, UNSURE),
        (Ratio(4, 2.5, 5), 3, False, MISS),
        (Ratio(4, 2.5, 5), None, True, SHOWN),
        (Ratio(5, 5, 5), 5, True, PASS),
    ],
)
def test_goal_is_judged_by_the_pessimistic_end_of_its_interval(measured, target, at_least, verdict):
    assert Goal("x", measured, target, at_least).verdict == verdict


def test_checked_refuses_an_error_above_the_limit_and_nan():
    assert checked("x", 1.0, 2.0).error == 1.0
    with pytest.raises(WrongResult, match="x: error 3 is above the limit 2"):
        checked("x", 3.0, 2.0)
    with pytest.raises(WrongResult):
        checked("x", float("nan"), 2.0)


@pytest.fixture
def row():
    return Row(
        "demo",
        "a demo",
        {"threads": 1},
        [
            Goal("fast", Ratio(6, 5, 7), 5),
            Goal("slim", exact(9), 8, at_least=False, unit="MB"),
            Goal("seen", exact(1)),
        ],
        {"livecut": Summary((1.0, 2.0, 3.0))},
        [checked("right", 0.5, 1)],
        [Warn.NOISY, Warn.NOISY],
    )


def test_report_survives_a_round_trip_through_its_file(row, tmp_path):
    data = results.report([row], {"cpu": "x"}, quick=True, failures={"loop": "broken"})
    path = tmp_path / "deep" / "result.json"
    results.write(path, data)
    assert results.read(path) == data
    assert [child.name for child in path.parent.iterdir()] == ["result.json"]
    assert data["rows"][0]["warnings"] == ["noisy"]
    assert [goal["verdict"] for goal in data["rows"][0]["goals"]] == [PASS, MISS, SHOWN]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', "\xff"])
def test_read_refuses_what_is_no_result_file_by_name(text, tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.json: "):
        results.read(path)


def test_summary_names_each_goal_that_did_not_pass(row):
    text = summary([row], {"loop": "ValueError: no"})
    assert "1 of 2 goals passed" in text
    assert "MISS: demo: slim: 9 MB, goal <= 8 MB" in text
    assert "FAILED: loop: ValueError: no" in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(5, "x", "5x"), (4.987, "x", "4.99x"), (1234.5, "fps", "1234 fps"), (0.01234, "ms", "0.0123 ms")],
)
def test_number_keeps_the_digits_that_tell(value, unit, text):
    assert results.number(value, unit) == text


def test_machine_description_is_json_and_names_chip_libraries_and_commit():
    described = machine.describe()
    json.dumps(described)
    assert described["libraries"]["numpy"]
    assert described["cores_allowed"] >= 1
    assert {"commit", "dirty", "governor", "cgroup_cpu_limit", "kernel", "flags", "caches"} <= set(described)


def test_default_path_says_date_machine_and_commit():
    path = results.default_path({"commit": "abc", "dirty": True}, machine.short_name())
    assert path.parent.name == "results"
    assert path.name.endswith("-abc-dirty.json")
    some = results.default_path({"commit": "abc"}, "m", ["loop", "pipeline"])
    assert some.name.endswith("-m-abc-loop-pipeline.json")  # else the next rows would replace these


def test_an_unknown_benchmark_is_refused_with_the_list(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["nonsense"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in BENCHMARKS)


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--gate"], 6)])
def test_a_missed_goal_fails_only_with_gate(arguments, code, row, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchmarks.__main__.measure_all", lambda *_: ([row], {}))
    target = tmp_path / "r.json"
    assert main(["composite", "--json", str(target), *arguments]) == code
    assert "MISS: demo: slim" in capsys.readouterr().out
    assert results.read(target)["rows"][0]["name"] == "demo"


def test_a_benchmark_that_fails_does_not_hide_the_others(row, monkeypatch, capsys):
    from benchmarks import bench_composite

    def broken(options):
        raise WrongResult("blue is red")

    monkeypatch.setattr(bench_composite, "run_composite", broken)
    monkeypatch.setattr(bench_composite, "run_refine", lambda options: [row])
    assert main(["composite", "refine", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: composite: WrongResult: blue is red" in out
    assert "== a demo" in out
