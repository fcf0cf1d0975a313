"""The peers' table says what was measured, of whom, and who is missing; each peer gives what it claims."""

import itertools

import numpy as np
import pytest

from benchmarks import scene
from benchmarks.measure import Summary
from benchmarks.peers import __main__ as peers
from benchmarks.peers import contenders
from benchmarks.peers.contenders import NotHere, Peer, SerialCv2
from benchmarks.peers.readme import replace_table, table
from benchmarks.results import Goal, Ratio, Row, WrongResult

SIZE = (96, 64)


@pytest.fixture
def row():
    samples = {"livecut": Summary((8.0, 8.0, 10.0)), "theirs": Summary((800.0, 820.0, 860.0))}
    goals = [Goal("frames per second against theirs", Ratio(100, 95.2, 107))]
    details = {
        "computes": {"livecut": "all of it", "theirs": "half"},
        "cpu_ms": {"livecut": 12.34, "theirs": 1500},
    }
    return Row("peers", "t", {}, goals, samples, details=details).to_json()


def test_table_says_rate_spread_ratio_and_what_each_computes(row):
    lines = table(row, {"MediaPipe": "not installed"}).splitlines()
    assert lines[2] == "| livecut | 125 | 8 (8 to 9.8) | 12.3 |  | all of it |"
    assert lines[3] == "| theirs | 1.22 | 820 (802 to 856) | 1500 | 100x (95.2 to 107) | half |"
    assert lines[-1] == "MediaPipe: not measured: not installed"


def test_table_goes_between_its_markers_and_touches_nothing_else(row, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- peers: begin -->\nold \\1\n<!-- peers: end -->\nafter\n")
    machine = {"cpu": "a chip", "cores_allowed": 2, "commit": "abc"}
    replace_table(readme, table(row, {}), machine, "2026-01-02T03:04")
    text = readme.read_text()
    assert text.startswith("before\n<!-- peers: begin -->\nMeasured by `make bench-peers` on a chip, 2 cores")
    assert text.endswith("<!-- peers: end -->\nafter\n")
    assert "old" not in text
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="expected one <!-- peers: begin -->"):
        replace_table(readme, "", machine, "")


def test_readme_has_the_markers():
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- peers: begin -->") == text.count("<!-- peers: end -->") == 1


def test_peers_that_are_not_to_be_had_are_named_and_the_others_measured():
    def missing():
        raise NotHere("not installed")

    peer = Peer("one", "", lambda frame: frame, SIZE, 1)
    assert peers.found({"one": lambda: [peer], "two": missing}) == ([peer], {"two": "not installed"})


def test_a_package_that_is_not_installed_is_not_here(monkeypatch):
    with pytest.raises(NotHere, match="not installed"):
        contenders._imported("livecut-of-another-world")


def test_a_peer_must_give_the_shape_it_claims_and_leave_its_input_alone():
    frame = np.zeros((64, 96, 3), np.uint8)
    good = Peer("good", "", lambda frame: np.zeros((64, 96, 4)), (64, 96, 4), 1)
    assert peers.check(good, frame).error == 0
    with pytest.raises(WrongResult, match="other: result of shape"):
        peers.check(Peer("other", "", lambda frame: np.zeros((64, 96)), (64, 96, 4), 1), frame)

    def scribbles(frame):
        frame += 1
        return np.zeros((64, 96, 4))

    with pytest.raises(WrongResult, match="input changed"):
        peers.check(Peer("scribbles", "", scribbles, (64, 96, 4), 1), frame)


def test_turns_alternate_and_cpu_time_is_told_a_frame(monkeypatch):
    turns = []
    wall, cpu = itertools.count(0, 0.1), itertools.count(0, 0.2)  # two cores busy
    monkeypatch.setattr(peers.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(peers.time, "process_time", lambda: next(cpu))
    monkeypatch.setattr(peers, "Watch", StillMachine)

    def contender(name, milliseconds):
        def turn():
            turns.append(name)
            return milliseconds

        return turn

    measurement, busy = peers.interleave({"a": contender("a", 5.0), "b": contender("b", 9.0)}, 2)
    assert turns == ["a", "b", "b", "a"]
    assert measurement.contenders["b"].samples == (9.0, 9.0)
    assert busy["a"] == pytest.approx([10.0, 10.0])


class StillMachine:
    warnings = ()

    def __enter__(self):
        self.warnings = []
        return self

    def __exit__(self, *_):
        pass


def test_the_serial_loop_lays_the_networks_alpha_on_the_frame(monkeypatch):
    class Network:
        size_wh = (48, 32)

        class manifest:
            mean, std = (0.0,) * 3, (255.0,) * 3

        def __call__(self, blob):
            assert blob.shape == (1, 3, 32, 48)
            return np.full((32, 48), 0.5, np.float32)

    monkeypatch.setattr(scene, "FRAME_WH", SIZE)
    frame = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    out = SerialCv2(Network())(frame)
    assert (out[..., :3] == frame).all()
    assert set(np.unique(out[..., 3])) <= {127, 128}


def test_too_few_rounds_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        peers.main(["--rounds", "1"])
    assert stop.value.code == 2
