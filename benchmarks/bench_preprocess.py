"""Preprocess: 1080p BGR to 512x288 float32 NCHW, one thread."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from . import references, scene
from .measure import interleave
from .options import Options
from .results import Check, Goal, Row, checked

TITLE = "preprocess 1080p BGR -> 512x288 fp32, 1 thread"
LIMIT = 1.01  # in 0..255: one step, for a kernel that rounds to bytes on its way


def run(options: Options) -> list[Row]:
    """Time livecut's kernel beside OpenCV with NumPy, ``blobFromImage`` and a memcpy."""
    from livecut.kernels.preprocess import fit, preprocess

    cv2.setNumThreads(1)
    frames = scene.frames()
    width, height = scene.INPUT_WH
    geometry = fit(scene.FRAME_WH, scene.INPUT_WH)
    out = np.empty((1, 3, height, width), np.float32)
    small = np.empty((height, width, 3), np.uint8)
    settings: dict[str, Any] = {
        "format": "BGR",
        "geometry": geometry,
        "mean": scene.MEAN,
        "std": scene.STD,
        "threads": 1,
    }
    linear = references.Cv2Preprocess(scene.INPUT_WH, scene.MEAN, scene.STD)
    area = references.Cv2Preprocess(scene.INPUT_WH, scene.MEAN, scene.STD, cv2.INTER_AREA)
    scratch = np.empty_like(frames[0])
    how = (scene.INPUT_WH, scene.MEAN, scene.STD)
    contenders = {
        "livecut": scene.over_frames(lambda frame: preprocess((frame,), out=out, **settings)),
        "livecut, guide filled too": scene.over_frames(
            lambda frame: preprocess((frame,), out=out, small=small, **settings)
        ),
        "cv2 LINEAR + NumPy": scene.over_frames(linear),
        "cv2 LINEAR + NumPy, with temporaries": scene.over_frames(
            lambda frame: references.plain_preprocess(frame, *how)
        ),
        "cv2 AREA + NumPy": scene.over_frames(area),
        "blobFromImage": scene.over_frames(lambda frame: references.blob_preprocess(frame, *how)),
        "memcpy": scene.over_frames(lambda frame: np.copyto(scratch, frame)),
    }
    checks = check(lambda frame: preprocess((frame,), out=out, **settings).copy(), linear, area)
    measurement = interleave(contenders, rounds=options.rounds)
    ratio = measurement.ratio
    goals = [
        Goal("faster than cv2 resize + cvtColor + NumPy (LINEAR)", ratio("cv2 LINEAR + NumPy", "livecut"), 5),
        Goal("faster than cv2.dnn.blobFromImage", ratio("blobFromImage", "livecut"), 2),
        Goal("faster than cv2 INTER_AREA + NumPy (like for like)", ratio("cv2 AREA + NumPy", "livecut")),
        Goal("times a memcpy of the frame", ratio("livecut", "memcpy"), at_least=False),
    ]
    conditions = {
        "frame": "1920x1080 BGR uint8",
        "output": "1x3x288x512 float32",
        "threads": 1,
        "bytes_floor": frames[0].nbytes + out.nbytes,
        "like_for_like": "INTER_AREA, which reads every pixel as livecut does; the others read 4 of 14",
    }
    return [Row.of("preprocess", TITLE, measurement, conditions=conditions, goals=goals, checks=checks)]


def check(ours, linear, area) -> list[Check]:
    """livecut against an exact area average; the references against the same, and against each other."""
    frame = scene.frames()[0]
    mean, std = np.float32(scene.MEAN), np.float32(scene.STD)
    exact = cv2.resize(frame.astype(np.float32), scene.INPUT_WH, interpolation=cv2.INTER_AREA)[..., ::-1]
    exact = ((exact - mean) / std).transpose(2, 0, 1)[None]
    scale = float(std.max())
    blob = references.blob_preprocess(frame, scene.INPUT_WH, scene.MEAN, scene.STD)
    return [
        checked(
            "livecut against the exact area average, in 0..255", scale * _worst(ours(frame), exact), LIMIT
        ),
        checked("cv2 INTER_AREA against the same", scale * _worst(area(frame), exact), LIMIT),
        checked("blobFromImage against cv2 INTER_LINEAR", scale * _worst(blob, linear(frame)), LIMIT),
    ]


def _worst(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())
