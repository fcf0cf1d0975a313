"""Two result files: what is called faster, slower, or neither."""

import copy

import numpy as np
import pytest

from benchmarks import results
from benchmarks.compare import FASTER, SAME, SLOWER, cautions, compare, main
from benchmarks.measure import Summary
from benchmarks.results import Row


@pytest.fixture
def before(rng):
    contenders = {
        "livecut": Summary(tuple(rng.normal(1.0, 0.02, 40))),
        "memcpy": Summary(tuple(rng.normal(0.2, 0.004, 40))),
    }
    machine = {
        "cpu": "x",
        "cores_allowed": 2,
        "governor": None,
        "python": "3.11",
        "libraries": {},
        "kernel": "6",
    }
    return results.report([Row("preprocess", "", {}, [], contenders)], machine, quick=False, failures={})


def scaled(report, contender, factor):
    changed = copy.deepcopy(report)
    summary = changed["rows"][0]["contenders"][contender]
    summary["samples"] = (np.array(summary["samples"]) * factor).tolist()
    summary["median"] *= factor
    return changed


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.8, FASTER), (1.25, SLOWER), (1.0, SAME), (1.01, SAME), (0.99, SAME)]
)
def test_compare_judges_a_contender_by_its_interval_and_a_floor(before, factor, verdict):
    found = {item.contender: item for item in compare(before, scaled(before, "livecut", factor))}
    assert found["livecut"].verdict == verdict
    assert found["memcpy"].verdict == SAME


def test_a_difference_within_the_noise_is_not_significant(before, rng):
    noisy = copy.deepcopy(before)
    noisy["rows"][0]["contenders"]["livecut"]["samples"] = rng.normal(1.0, 0.5, 10).tolist()
    found = {item.contender: item.verdict for item in compare(before, noisy)}
    assert found["livecut"] == SAME


def test_rows_and_contenders_of_only_one_file_are_left_out(before):
    after = copy.deepcopy(before)
    del after["rows"][0]["contenders"]["memcpy"]
    assert [item.contender for item in compare(before, after)] == ["livecut"]
    after["rows"][0]["name"] = "other"
    assert compare(before, after) == []


def test_cautions_name_another_machine_quick_runs_and_references_that_moved(before):
    after = scaled(before, "memcpy", 1.2)
    after["machine"]["cpu"] = "y"
    after["quick"] = True
    text = "\n".join(cautions(before, after, compare(before, after)))
    assert "cpu differs: x before, y after" in text
    assert "quick" in text
    assert "references themselves are 17% slower now" in text
    assert cautions(before, before, compare(before, before)) == []


def test_main_prints_a_line_per_contender(before, tmp_path, capsys):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, data in zip(paths, (before, scaled(before, "livecut", 0.5)), strict=True):
        results.write(path, data)
    assert main([str(path) for path in paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(FASTER) for line in lines) == 1
    assert sum(line.endswith(SAME) for line in lines) == 1


def test_main_refuses_a_file_that_is_no_result(tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text("{}")
    assert main([str(path), str(path)]) == 2
    assert "error: " in capsys.readouterr().err
