"""The whole 1080p loop beside the one rembg's users run, with a U2Netp of the same architecture."""

from __future__ import annotations

import numpy as np

from . import scene, u2netp
from .bench_loop import OURS, conditions, interleave_loops
from .loops import LivecutLoop, SerialLoop, on_cpu
from .options import Options
from .rembg_loop import RembgLoop
from .results import Goal, Row, checked

TITLE = "whole 1080p loop against a rembg-style loop with U2Netp"
THEIRS = "rembg-style loop, u2netp"


def run(options: Options) -> list[Row]:
    """Closed loop, RGB frames from memory, composited over an RGB image on both sides."""
    pictures = [np.ascontiguousarray(frame[..., ::-1]) for frame in scene.camera_frames()]
    background = np.ascontiguousarray(scene.background()[..., ::-1])
    with on_cpu(options.model) as session:
        info = session.warm_up(scene.FRAME_WH)
        theirs = RembgLoop(background, threads=info.threads)
        ours = LivecutLoop(session, pictures, background, format="RGB")
        checks = [
            checked(
                "parameters of u2netp from 1.13 M", abs(u2netp.parameters(u2netp.build()) / 1.13e6 - 1), 0.01
            ),
            checked(
                "its result has the frame's shape", int(theirs(pictures[0]).shape != pictures[0].shape), 0
            ),
        ]
        loops = {OURS: ours, THEIRS: SerialLoop(theirs, pictures)}
        counts = {OURS: 40 if options.quick else 100, THEIRS: 4 if options.quick else 6}
        rounds = 2 if options.quick else 20
        measurement = interleave_loops(
            {name: name for name in loops},
            lambda name: loops[name].run(counts[name]).frame_ms(skip=1),
            rounds,
        )
        told = conditions(session, options) | {
            "frame": "1920x1080 RGB uint8 of the synthetic camera, from memory, over an RGB image, RGB out",
            "references": f"onnxruntime fp32, {info.threads} threads, random weights, Lanczos both ways",
        }
        goals = [Goal("frames per second against the rembg-style loop", measurement.ratio(THEIRS, OURS), 25)]
        details = {
            "fps": {name: round(1e3 / item.median, 2) for name, item in measurement.contenders.items()}
        }
    return [Row.of("rembg", TITLE, measurement, conditions=told, goals=goals, checks=checks, details=details)]
