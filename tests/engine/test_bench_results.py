"""The result file: what it holds is documented, it survives a round trip, and two of them are told apart."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fakes import RedBackend

from livecut.engine.bench import results, statistics
from livecut.engine.bench.compare import FASTER, SAME, SLOWER, compare
from livecut.engine.bench.marking import marked
from livecut.engine.bench.page import page, write_page
from livecut.engine.bench.run import Run
from livecut.engine.bench.search import Trial
from livecut.engine.bench.settings import Settings
from livecut.engine.bench.svg import log_ticks, ticks
from livecut.engine.errors import UsageError
from livecut.engine.session import Session

FORMAT = Path(__file__).resolve().parents[2] / "docs" / "bench-format.md"
MACHINE = {
    "cpu": "a chip",
    "cores_allowed": 2,
    "governor": None,
    "python": "3",
    "libraries": {},
    "kernel": "6",
    "gpus": [],
    "commit": "abc",
    "livecut": {"version": "0"},
}


@pytest.fixture(scope="module")
def measured(tiny_model):
    """A real run of a fake backend, as its figures."""

    def make(settings, number, group):
        return Session(
            tiny_model, backend=marked(RedBackend, settings.size_wh), size_wh=(256, 128), threads=1
        )

    settings = Settings(size_wh=(256, 128), fps=20.0, seconds=0.5, warm_up_seconds=0.1, paced=False)
    return Run(settings, make_session=make, make_reference=make).measure()


@pytest.fixture
def result(measured):
    """A result file around that run, paced and long enough to compare: its times are made up."""
    data = copy.deepcopy(
        results.report(
            [measured],
            MACHINE,
            not_readable={"rapl": "no counters"},
            cold_start={
                "backend": "null, fp32",
                "interpreter_and_exit": 0.1,
                "import": 0.2,
                "session": 0.3,
                "first_frame": 0.1,
                "total": 0.7,
            },
        )
    )
    return with_latencies(data, np.random.default_rng(5).normal(10, 1, 600))


def with_latencies(data, values, run=0):
    changed = copy.deepcopy(data)
    run = changed["runs"][run]
    run["settings"]["paced"] = True
    run["warnings"] = []
    run["samples"] = {
        "latency_ms": [values.tolist()],
        "due_seconds": [(np.arange(values.size) / 30).tolist()],
    }
    run["latency_ms"] = statistics.percentiles(values)
    return changed


def test_the_file_survives_a_round_trip_and_keeps_lists_of_numbers_on_a_line(result, tmp_path):
    path = tmp_path / "deep" / "r.json"
    results.write(path, result)
    assert results.read(path) == json.loads(json.dumps(result))
    longest = max(path.read_text().splitlines(), key=len)
    assert longest.count(",") >= 599
    assert len(path.read_text().splitlines()) < 250


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not readable"),
        ("[1]", "not a result of livecut bench"),
        ('{"format": "livecut-bench", "version": 99}', "99"),
    ],
)
def test_other_files_are_refused_by_name(text, why, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"x.json: .*{why}"):
        results.read(path)


def keys_of(data, prefix=""):
    """Every key of the file as ``runs[].gate.passed``; those that are names of things stay out."""
    free = {"libraries", "rails_watts", "temperature_c", "clock_mhz", "counters", "device_mb", "not_run"}
    for key, value in data.items():
        yield prefix + key
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) and key not in free and key != "sensors_not_readable" and key != "machine":
            yield from keys_of(first, f"{prefix}{key}{'[]' if isinstance(value, list) else ''}.")


def test_every_key_is_documented_and_every_documented_key_is_there(measured):
    trial = Trial(1, True, 1.0, 0.0, 1.0, "")
    data = results.report(
        [measured],
        MACHINE,
        not_readable={},
        idle={"seconds": 3.0, "watts": 1.0, "watts_of": [], "rails_watts": {}},
        cold_start={
            "backend": "null, fp32",
            "interpreter_and_exit": 0.1,
            "import": 0.2,
            "session": 0.3,
            "first_frame": 0.1,
            "total": 0.7,
        },
        search={"fps": 30.0, "p99_ms": 33.0, "answer": 1, "most": 2, "trials": [trial.to_json()]},
    )
    documented = set(re.findall(r"^\| `([\w.\[\]]+)` \|", FORMAT.read_text(encoding="utf-8"), re.MULTILINE))
    leaves = set(keys_of(data))
    # A key is documented by its own line, or by that of the object that holds it.
    missing = {
        key for key in leaves if not any(key == d or key.startswith((f"{d}.", f"{d}[")) for d in documented)
    }
    assert missing == set()
    assert documented - leaves == set()


# -- comparing


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_RESAMPLES", 200)


@pytest.mark.parametrize(("factor", "verdict"), [(0.8, FASTER), (1.25, SLOWER), (1.0, SAME), (1.01, SAME)])
def test_compare_tells_faster_from_slower_from_neither(result, factor, verdict):
    values = np.array(result["runs"][0]["samples"]["latency_ms"][0])
    changes, cautions = compare(result, with_latencies(result, values * factor))
    assert [change.figure for change in changes] == ["latency p50", "latency p99"]
    assert {change.verdict for change in changes} == {verdict}
    assert cautions == []


def test_a_difference_within_the_noise_is_not_significant(result, rng):
    noisy = with_latencies(result, rng.normal(10.5, 6, 300).clip(1))
    found = {change.figure: change.verdict for change in compare(result, noisy)[0]}
    assert found["latency p50"] == SAME


def test_an_unpaced_run_is_compared_by_its_rate(result):
    for run in result["runs"]:
        run["settings"]["paced"] = False
    slow = copy.deepcopy(result)
    samples = slow["runs"][0]["samples"]
    samples["due_seconds"] = [[2 * moment for moment in samples["due_seconds"][0]]]
    (change,), _ = compare(result, slow)
    assert (change.figure, change.verdict) == ("frames per second", SLOWER)


def test_a_wrong_output_is_not_compared_and_machines_and_warnings_are_told(result):
    other = copy.deepcopy(result)
    other["runs"][0]["gate"]["passed"] = False
    other["runs"][0]["warnings"] = [{"name": "noisy", "meaning": "x"}]
    other["machine"]["cpu"] = "another chip"
    changes, cautions = compare(result, other)
    assert changes == []
    text = "\n".join(cautions)
    for said in ("cpu differs: a chip before, another chip after", "after: noisy", "an output was wrong"):
        assert said in text


def test_single_runs_of_other_names_are_compared_with_a_caution(result):
    other = copy.deepcopy(result)
    other["runs"][0]["name"] = "something else"
    changes, cautions = compare(result, other)
    assert changes
    assert any("different runs are compared" in caution for caution in cautions)
    other["runs"] *= 2
    assert compare(result, other)[0] == []


# -- the page


def test_the_page_loads_nothing_and_shows_every_plot(result, tmp_path):
    write_page(tmp_path / "p.html", result)
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", text)
    for title in ("Latency over time", "Histogram", "Where a frame&#x27;s time goes", "Machine"):
        assert title in text
    assert text.count("<svg") == 8  # four plots, wide and narrow; too short for memory's
    assert "prefers-color-scheme:dark" in text
    assert "not readable here: rapl: no counters" in text


def test_the_page_shows_names_as_text_not_as_markup(result):
    result["runs"][0]["name"] = "<script>alert(1)</script>"
    assert "<script>" not in page(result)


def test_runs_that_differ_are_named_by_what_differs_and_drawn_against_each_other(result):
    other = copy.deepcopy(result["runs"][0])
    other["settings"]["streams"], other["settings"]["input_size_wh"] = 2, [128, 64]
    other["quality"]["iou"] = 0.5
    result["runs"].append(other)
    text = page(result)
    assert "2 streams" in text
    assert "network 128x64" in text
    assert "Streams against p99" in text
    assert "Quality against speed" in text


def test_a_search_shows_its_answer_and_its_trials(result):
    trials = [Trial(n, n < 3, 8.0 * n * n, 0.0, 30.0, "").to_json() for n in (1, 2, 4, 3, 2)]
    result["search"] = {"fps": 30.0, "p99_ms": 33.0, "answer": 2, "most": 64, "trials": trials}
    text = page(result)
    assert "<b>2</b> streams hold 30 fps" in text
    assert text.count('class="mark missed"') == 2 * 2
    assert text.count('class="mark held"') == 2 * 3


def test_a_long_run_is_drawn_as_a_range_and_stays_small(result, rng):
    text = page(with_latencies(result, rng.normal(10, 1, 40_000)))
    assert 'class="band a"' in text
    assert len(text) < 120_000


def test_a_soak_shows_its_memory_over_time(result):
    result["runs"][0]["series"] |= {
        "sampled_at": list(range(40)),
        "rss_mb": [200 + n / 10 for n in range(40)],
        "celsius": [60.0] * 39 + [None],
    }
    assert "Memory over time" in page(result)


def test_a_run_without_a_frame_still_makes_a_page(result):
    assert "Machine" in page(with_latencies(result, np.array([])))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.93, 0.97, [0.93, 0.94, 0.95, 0.96, 0.97]), (5, 5, [5])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_logarithmic_ticks_are_powers_of_ten_with_steps_where_there_is_room():
    assert log_ticks(0.7, 60) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert log_ticks(0.7, 60000) == pytest.approx([1, 10, 100, 1000, 10000])
