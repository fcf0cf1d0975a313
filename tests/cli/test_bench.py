"""``livecut bench``: what it writes and how it ends. Nothing here depends on how fast the machine is."""

import json

import pytest

QUICK = (
    "--size", "64x48", "--fps", 100, "--seconds", "0.2", "--warm-up", "0.1", "--unpaced", "--no-cold-start",
    "--backend", "null",
)  # fmt: skip


def test_bench_prints_a_table(livecut):
    result = livecut("bench", *QUICK)
    assert result.exit_code == 0, result.stderr
    for text in ("frames per second", "latency, ms", "p99.9", "postprocess", "null", "outputs checked"):
        assert text in result.stdout
    assert "equal" in result.stdout
    assert "warning: few-samples" in result.stdout


def test_bench_writes_the_result_alone_to_stdout(livecut):
    result = livecut("bench", *QUICK, "--json", "-")
    data = json.loads(result.stdout)
    assert (data["format"], data["version"]) == ("livecut-bench", 1)
    run = data["runs"][0]
    assert run["frames"] == {"offered": 20, "written": 20, "dropped": 0, "late": 0, "warm_up_written": 10}
    assert run["gate"]["passed"]
    assert len(run["samples"]["latency_ms"][0]) == 20


def test_bench_misses_a_gate_with_6(livecut):
    result = livecut("bench", *QUICK, "-q", "--max-p99", 0)
    assert result.exit_code == 6
    assert "p99 latency" in result.stderr
    assert livecut("bench", *QUICK, "-q", "--max-p99", 1e6, "--max-dropped", 0).exit_code == 0


def test_a_sweep_measures_every_combination_and_tells_what_could_not_run(livecut, tmp_path):
    path = tmp_path / "r.json"
    result = livecut(
        "bench", *QUICK, "--sweep", "size=64x48,96x64", "--sweep", "backend=null,gone", "--json", path
    )
    assert result.exit_code == 3
    data = json.loads(path.read_text())
    assert [run["settings"]["size_wh"] for run in data["runs"]] == [[64, 48], [96, 64]]
    assert list(data["not_run"]) == ["size_wh 64x48, backend gone", "size_wh 96x64, backend gone"]
    assert "no backend 'gone'" in result.stdout
    assert "2 of 4 runs could not be had" in result.stderr


def test_finding_streams_says_how_many_hold_and_fails_below_a_minimum(livecut, tmp_path):
    path = tmp_path / "r.json"
    options = (
        "--size", "64x48", "--fps", 50, "--seconds", "0.1", "--warm-up", "0.1", "--no-cold-start",
        "--backend", "null", "--find-streams", "--p99", 1e6, "--most-streams", 2, "--json", path,
    )  # fmt: skip
    result = livecut("bench", *options, "--min-streams", 3)
    search = json.loads(path.read_text())["search"]
    assert [trial["streams"] for trial in search["trials"]][:1] == [1]
    assert search["answer"] <= 2
    assert result.exit_code == 6
    assert "streams hold, 3 wanted" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "soon"], "--seconds: expected a duration such as"),
        (["--soak", "0m"], "--soak: expected a duration"),
        (["--sweep", "colour"], "--sweep: no axis 'colour'"),
        (["--sweep", "threads=none"], "--sweep threads: expected a whole number"),
        (["--sweep", "threads=" + ",".join(map(str, range(1, 600)))], "599 combinations"),
        (["--find-streams", "--unpaced"], "--find-streams"),
        (["--min-streams", "2"], "--min-streams: needs --find-streams"),
        (["--output", "gif"], "output: expected rgba"),
        (["--size", "9"], "--size: expected WIDTHxHEIGHT"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(livecut, arguments, text):
    result = livecut("bench", "--backend", "null", "--no-cold-start", *arguments)
    assert result.exit_code == 2, result.stderr
    assert text in result.stderr


def test_compare_reads_two_results(livecut, tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        assert livecut("bench", *QUICK, "-q", "--json", path).exit_code == 0
    result = livecut("bench", "compare", *paths)
    assert result.exit_code == 0, result.stderr
    assert "frames per second" in result.stdout
    assert "caution: " in result.stdout


def test_compare_refuses_what_is_no_result(livecut, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    result = livecut("bench", "compare", tmp_path / "a.json", tmp_path / "a.json")
    assert result.exit_code == 2
    assert "not a result of livecut bench" in result.stderr


def test_a_run_without_outputs_says_so_and_not_that_they_differ():
    """As when it is stopped before its first frame."""
    from livecut.cli.bench_report import gate_text
    from livecut.engine.bench.gate import GateReport

    assert gate_text(GateReport().to_json()) == "none came out to compare with an offline run; 0 out of order"
    assert gate_text(GateReport(checked=3, failed=1, first_failed=7).to_json()).startswith("WRONG: 1 of 3 ")
