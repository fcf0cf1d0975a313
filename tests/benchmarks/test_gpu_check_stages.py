"""Every GPU stage of the check, on a GPU made of software: its results are right, its times mean nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import software_gpu

pytest.importorskip("psutil", reason="the check reads memory through psutil")

from software_checks import MODULE, assert_passed, report

from benchmarks.gpu_check import (
    copy_stages,
    endurance_stages,
    frame_stages,
    kernel_stages,
)
from livecut.kernels.cuda import KERNELS, CompiledModule

ROOT = Path(__file__).resolve().parents[2]


def test_the_driver_has_every_kernel():
    source = (ROOT / "tests" / "software_kernels.cpp").read_text(encoding="utf-8")
    assert set(software_gpu.kernels_in(source)) == set(KERNELS)


def test_numerics_of_every_kernel_on_a_device(device_settings):
    found = report()
    kernel_stages.numerics(found, device_settings)
    assert_passed(found, [])
    checked = {check.what for check in found.checks}
    assert {"lc_preprocess", "lc_composite_packed", "lc_composite_planar", "lc_smooth", "lc_over"} <= checked


def test_a_kernel_that_computes_something_else_fails_its_check(device_settings, monkeypatch):
    from benchmarks.gpu_check import machines

    def wrong(self, launches):
        for each in launches:
            kernel = self._kernels[
                "lc_composite_packed" if each.kernel == "lc_composite_straight" else each.kernel
            ]
            self._stream.launch(kernel, each.grid, each.block, each.arguments, each.shared_bytes)

    monkeypatch.setattr(machines.DeviceMachine, "run", wrong)
    found = report()
    kernel_stages.numerics(found, device_settings)
    assert found.judged().status == "failed"
    assert "lc_composite_straight" in found.reason


def test_copies_are_timed_beside_the_bandwidth(device_settings):
    found = report()
    copy_stages.copies(found, device_settings)
    assert_passed(found, ["bandwidth, host to device", "1080p BGR in, pinned", "4K: pageable over pinned"])
    assert all(each.floor for each in found.figures if "BGR in" in each.what)


def test_each_kernel_is_timed_beside_its_floor(device_settings):
    found = report()
    kernel_stages.times(found, device_settings)
    assert_passed(found, ["lc_preprocess", "lc_measure", "lc_solve", "lc_composite_planar", "lc_remember"])
    assert all(each.floor and each.unit == "us" for each in found.figures)


def test_a_graph_gives_the_same_bytes_and_is_timed_against_launches(either):
    found = report()
    frame_stages.graph(found, either)
    assert_passed(found, ["one graph", "stream launches over one graph"])
    (goal,) = (each for each in found.figures if each.target)
    assert (goal.target, goal.at_least) == (1.3, True)


def test_a_whole_frame_is_the_frame_that_the_specification_makes(either):
    """Red as alpha: the output of the whole path against the specification of its parts."""
    from benchmarks.gpu_check.numerics import ROUNDED
    from livecut.kernels import fit, reference
    from livecut.kernels import reference_refine as refined
    from livecut.kernels.refine import EPS, FUSION_RADIUS, RADIUS

    found = report()
    with frame_stages.opened(found, either) as here:
        paths = here.paths((192, 108), 2)
        for _ in range(3):
            path = paths.next()
        paths.drain()
        frame, got = (each.planes[0].copy() for each in (path.frame, path.finished))
        paths.free()
    manifest, geometry = here.engine.manifest, fit((192, 108), (64, 32), here.engine.manifest.fit)
    inputs, guide = reference.preprocess(
        (frame,), format="BGR", geometry=geometry, mean=manifest.mean, std=manifest.std, order="RGB",
        layout="NCHW", dtype=np.float32, pad_value=manifest.pad_value, matrix="bt709", full_range=False,
    )  # fmt: skip
    (want,) = refined.refine_and_composite(
        (frame,), inputs[0, 0], format="BGR", geometry=geometry, output="BGR", small=guide,
        background=(0, 177, 64), radius=RADIUS, eps=EPS, fusion_radius=FUSION_RADIUS,
    )  # fmt: skip
    # The guide is rounded: a level that falls the other way moves the slopes of the cells around it.
    assert np.percentile(np.abs(got - want[..., ::-1]), 99.9) <= ROUNDED
    assert np.abs(got - want[..., ::-1]).max() <= 2


def test_overlap_and_pipeline_have_their_figures_and_goals(settings):
    found = report()
    frame_stages.overlap(found, settings)
    assert_passed(found, [f"at depth {depth}" for depth in (1, 2, 3, 4)])
    found = report()
    frame_stages.pipeline(found, settings)
    pieces = ["copy in", "pre", "engine", "post", "copy out", "host to host", "throughput"]
    assert_passed(found, [f"1080p: {piece}" for piece in pieces])
    goals = {each.what: each.target for each in found.figures if each.target is not None}
    assert goals["1080p: host to host over copies and engine"] == 1.15
    assert goals["1080p: throughput over the engine's own"] == 0.95
    assert goals["1080p: added by pre and post"] >= 30


def test_streams_are_whole_sessions_and_doubled_until_they_are_late(either, monkeypatch):
    monkeypatch.setattr(frame_stages, "HELD_MS", 1e6)  # this GPU is slow
    monkeypatch.setattr("livecut.engine.bench.search.DROPPED_SHARE", 1.0)
    found = report()
    frame_stages.streams(found, {**either, "most_streams": 2})
    assert_passed(found, ["1 streams of 1080p: p99", "2 streams of 1080p: p99"])
    assert found.facts["streams that hold 30 fps"] == "at least 2", found.facts
    monkeypatch.setattr(frame_stages, "HELD_MS", 0.001)
    found = report()
    frame_stages.streams(found, {**either, "most_streams": 2})
    assert found.facts["streams that hold 30 fps"] == 0
    assert "p99" in found.facts["tried"]


def test_a_device_that_cannot_be_opened_any_more_is_a_failed_check(settings):
    from livecut.engine.errors import DeviceLost

    opened = []

    def make():
        if opened:
            raise DeviceLost("gone for good")
        opened.append(settings["open_device"]())
        return opened[0]

    found = report()
    endurance_stages.faults(found, {**settings, "open_device": make})
    assert found.judged().status == "failed"
    assert any("the device cannot be opened: gone for good" in check.said for check in found.checks)


def test_frames_leave_nothing_behind(settings):
    found = report()
    endurance_stages.leaks(found, {**settings, "frames": 60})
    assert_passed(found, [])
    assert found.facts["frames"] == 60


def test_frames_that_leave_memory_behind_are_found(settings, monkeypatch):
    from livecut.engine.backends.frame_lanes import FrameLane

    submit = FrameLane.submit

    def leak(self, *arguments, **rest):
        self.device.malloc(1 << 17)
        submit(self, *arguments, **rest)

    monkeypatch.setattr(FrameLane, "submit", leak)
    found = report()
    endurance_stages.leaks(found, {**settings, "frames": 60})
    assert found.judged().status == "failed"
    assert "device memory lost" in found.reason


def test_every_fault_gives_its_error_and_life_goes_on(settings, monkeypatch):
    def foreign(capability, driver):
        return CompiledModule(
            b"\177ELF" + bytes(45) + bytes([90]) + bytes(64), tuple(KERNELS), capability, "nvcc"
        )

    monkeypatch.setattr(endurance_stages, "get_module", foreign)
    found = report()
    endurance_stages.faults(found, {**settings, "module": MODULE})
    assert_passed(found, [])
    text = " ".join(check.what for check in found.checks)
    assert re.search("OutOfDeviceMemory.*damaged module.*another GPU: WrongDevice.*lost: DeviceLost", text)


def test_the_command_runs_gpu_stages_in_processes_of_their_own(driver, tmp_path):
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver.parent)}
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_check",
        "--quick",
        "--out",
        str(tmp_path),
        "environment",
        "copies",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    data = json.loads((tmp_path / "gpu-check.json").read_text(encoding="utf-8"))
    stages = {each["name"]: each for each in data["stages"]}
    assert "Software GPU, SM 8.6" in stages["environment"]["facts"]["gpu"], done.stdout + done.stderr
    assert stages["copies"]["status"] == "passed"
    assert stages["copies"]["figures"]
