"""The stages, in the order in which they run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from .results import Report

BUILD_SECONDS = 1800.0
"""What building an engine may take: TensorRT times its kernels, on a Jetson for many minutes."""


@dataclass(frozen=True)
class Stage:
    """One part of the check. ``function`` takes (report, settings), fills the report, or raises NotRun."""

    name: str
    title: str
    function: str
    """``module:function`` in this package; imported in the stage's own process."""
    limit_seconds: float
    needs_gpu: bool = True
    needs_engine: bool = False
    """Whether it opens the engine that the stage ``engine`` has opened, or built, before it."""

    def run(self, settings: dict[str, Any], report: Report) -> None:
        """Run it here, into ``report``; raises what the stage raises."""
        module, _, name = self.function.partition(":")
        package = __package__ if module.startswith(".") else None
        getattr(importlib.import_module(module, package), name)(report, settings)
        if self.needs_gpu:
            from .gpu import clocks

            if said := clocks():
                report.facts["at the end"] = said
        report.judged()


STAGES = (
    Stage("environment", "What is here", ".host_stages:environment", 60, False),
    Stage("compile", "CUDA kernels compile", ".host_stages:compile_kernels", 600, False),
    Stage("emulated", "CUDA kernels against the specification, emulated", ".host_stages:emulated", 600,
          False),
    Stage("engines", "Engines build for other GPUs", ".engine_stages:build_engines", 600, False),
    Stage("fake-device", "Order and lifetime, on a fake device", ".host_stages:fake_device", 600, False),
    Stage("kernels", "CUDA kernels against the specification, on the GPU", ".kernel_stages:numerics", 300),
    Stage("copies", "Pinned against pageable copies", ".copy_stages:copies", 120),
    Stage("kernel-times", "Each kernel beside its floor", ".kernel_stages:times", 180),
    Stage("engine", "An engine opens, or is built", ".engine_stages:opens", BUILD_SECONDS),
    Stage("parity", "The engine against ONNX", ".engine_stages:parity", 300, needs_engine=True),
    Stage("graph", "One graph a frame against stream launches", ".frame_stages:graph", 180,
          needs_engine=True),
    Stage("overlap", "Copies and engine at the same time", ".frame_stages:overlap", 180, needs_engine=True),
    Stage("pipeline", "Whole frames at 720p, 1080p and 4K", ".frame_stages:pipeline", 300,
          needs_engine=True),
    Stage("streams", "Streams in parallel", ".frame_stages:streams", 1800, needs_engine=True),
    Stage("batches", "Frames of several streams in one inference", ".batch_stage:batches",
          BUILD_SECONDS + 300),
    Stage("torch", "Beside a serial eager-PyTorch FP16 loop", ".torch_stage:serial_loop", 300,
          needs_engine=True),
    Stage("leaks", "10,000 frames, and nothing is lost", ".endurance_stages:leaks", 600, needs_engine=True),
    Stage("faults", "Faults: one clear error, and life goes on", ".endurance_stages:faults", 300),
)  # fmt: skip


def stage_named(name: str) -> Stage:
    """ValueError for one that there is not."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise ValueError(f"expected one of {', '.join(each.name for each in STAGES)}, got {name!r}")
