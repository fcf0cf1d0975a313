"""How many cores a container really grants; an interpreter that keeps no frame waiting."""

import gc
import sys

import pytest

from livecut.engine import threads


def make(root, cgroup, files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "max 100000\n"}, 0.5),
        ("0::/not/mounted/here\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("4:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "25000",
                                "cpu,cpuacct/x/cpu.cfs_period_us": "50000"}, 0.5),
        ("2:memory:/\n", {}, None),
    ],
)  # fmt: skip
def test_the_tightest_quota_on_the_way_up_counts(tmp_path, cgroup, files, quota):
    assert threads.cgroup_quota(make(tmp_path, cgroup, files)) == quota


def test_without_proc_there_is_no_quota(tmp_path):
    assert threads.cgroup_quota(tmp_path) is None


def test_a_quota_rounds_up_and_never_exceeds_the_affinity(tmp_path, monkeypatch):
    root = make(tmp_path, "0::/\n", {"cpu.max": "150000 100000\n"})
    monkeypatch.setattr(threads, "affinity", lambda: frozenset(range(8)))
    assert threads.available_cpus(root) == 2
    monkeypatch.setattr(threads, "affinity", lambda: frozenset({5}))
    assert threads.available_cpus(root) == 1


def test_this_process_may_use_at_least_one_core():
    assert threads.available_cpus() >= 1


def test_the_interpreter_is_as_before_when_the_last_stream_has_ended():
    before = (sys.getswitchinterval(), gc.get_freeze_count())
    with threads.prompt_interpreter():
        assert sys.getswitchinterval() == pytest.approx(threads.SWITCH_SECONDS)
        assert gc.get_freeze_count() > 0
        with threads.prompt_interpreter():
            pass
        assert sys.getswitchinterval() == pytest.approx(threads.SWITCH_SECONDS)
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == before


def test_what_the_application_has_set_aside_itself_stays_so():
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with threads.prompt_interpreter():
            pass
        assert gc.get_freeze_count() == count
    finally:
        gc.unfreeze()
