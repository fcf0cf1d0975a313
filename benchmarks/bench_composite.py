"""Enlarge alpha and composite over an image at 1080p, plain, and refined and decontaminated. One thread."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from . import references, scene
from .measure import interleave
from .options import Options
from .results import Check, Goal, Row, checked

COMPOSITE_TITLE = "upsample + composite 1080p over an image, 1 thread"
REFINE_TITLE = "guided refine + decontaminate + composite 1080p, 1 thread"
LIMIT = 2.0  # of 255
# The guided filter's window, in pixels of the network's input; full-size windows are 3.75 times as wide.
RADIUS, EPS = 4, 1e-3
# A refined composite has no exact counterpart here: mean difference from the full-size filter, of 255.
REFINED_LIMIT = 3.0


def ours(*, refine: bool) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """livecut's kernel as ``call(frame, alpha_small, background) -> BGR``, its buffers made beforehand."""
    from livecut.kernels.preprocess import fit, preprocess
    from livecut.kernels.refine import RefineScratch, refine_and_composite

    geometry = fit(scene.FRAME_WH, scene.INPUT_WH)
    out = np.empty_like(scene.frames()[0])
    height, width = scene.INPUT_WH[::-1]
    guides = {}
    for frame in (
        scene.frames()
    ):  # filled by preprocess while it makes the network's input: part of its cost, not here
        small = np.empty((height, width, 3), np.uint8)
        tensor = np.empty((1, 3, height, width), np.float32)
        preprocess((frame,), format="BGR", geometry=geometry, out=tensor, small=small)
        guides[id(frame)] = small
    scratch = RefineScratch(scene.FRAME_WH, scene.INPUT_WH)

    def call(frame, alpha_small, background):
        return refine_and_composite(
            (frame,),
            alpha_small,
            format="BGR",
            geometry=geometry,
            output="BGR",
            out=out,
            small=guides[id(frame)],
            background=background,
            refine=refine,
            decontaminate=refine,
            scratch=scratch,
            threads=1,
        )

    return call


def run_composite(options: Options) -> list[Row]:
    """Plain composite, on a realistic alpha and on one that is mixed everywhere."""
    cv2.setNumThreads(1)
    livecut = ours(refine=False)
    numpy_float = references.NumpyComposite(scene.FRAME_WH)
    in_place = references.NumpyCompositeInPlace(scene.FRAME_WH)
    blend = references.BlendLinear(scene.FRAME_WH)
    rows = []
    for name, alpha in (("composite", scene.product_alpha()), ("composite-all-mixed", scene.mixed_alpha())):
        checks = check_composite(
            {
                "livecut": livecut,
                "NumPy in place": in_place,
                "cv2.blendLinear": blend,
                "NumPy float": numpy_float,
            },
            alpha,
        )
        measurement = interleave(
            {
                "livecut": on(livecut, alpha),
                "NumPy float": on(numpy_float, alpha),
                "NumPy in place": on(in_place, alpha),
                "cv2.blendLinear": on(blend, alpha),
                "memcpy": scene.over_frames(
                    lambda frame, to=np.empty_like(scene.frames()[0]): np.copyto(to, frame)
                ),
            },
            rounds=options.rounds,
        )
        worst = name != "composite"
        ratio = measurement.ratio
        goals = [
            Goal(
                "faster than the NumPy float composite",
                ratio("NumPy float", "livecut"),
                None if worst else 40,
            ),
            Goal("faster than cv2.blendLinear", ratio("cv2.blendLinear", "livecut"), None if worst else 10),
            Goal("faster than NumPy without temporaries", ratio("NumPy in place", "livecut")),
            Goal("times a memcpy of the frame", ratio("livecut", "memcpy"), at_least=False),
        ]
        title = COMPOSITE_TITLE + (", every pixel mixed (worst case)" if worst else "")
        rows.append(
            Row.of(name, title, measurement, conditions=conditions(alpha), goals=goals, checks=checks)
        )
    return rows


def run_refine(options: Options) -> list[Row]:
    """Refined and decontaminated composite against the plain one and against a full-size guided filter."""
    cv2.setNumThreads(1)
    refined, plain = ours(refine=True), ours(refine=False)
    full = references.FullGuidedComposite(scene.FRAME_WH, round(RADIUS * 3.75), EPS)
    fast = references.FastGuidedComposite(scene.FRAME_WH, RADIUS, EPS)
    alpha = scene.product_alpha()
    checks = check_refine(refined, full, alpha)
    measurement = interleave(
        {
            "livecut refined": on(refined, alpha),
            "livecut plain": on(plain, alpha),
            "full-size guided filter + NumPy": on(full, alpha),
            "fast guided filter + cv2.blendLinear": on(fast, alpha),
        },
        rounds=options.rounds,
    )
    ratio = measurement.ratio
    goals = [
        Goal("times the plain composite", ratio("livecut refined", "livecut plain"), 3, at_least=False),
        Goal(
            "faster than a full-size guided filter of cv2.boxFilter + NumPy",
            ratio("full-size guided filter + NumPy", "livecut refined"),
            15,
        ),
        Goal(
            "faster than a fast guided filter in cv2 + blendLinear",
            ratio("fast guided filter + cv2.blendLinear", "livecut refined"),
        ),
    ]
    told = conditions(alpha) | {
        "references": "grey guide and no decontamination: less work than livecut does",
        "guide": "livecut gets the small guide that preprocess fills while it makes the network's input",
    }
    return [Row.of("refine", REFINE_TITLE, measurement, conditions=told, goals=goals, checks=checks)]


def on(call, alpha_small: np.ndarray) -> Callable[[], object]:
    """``call`` on each frame in turn with this alpha and the scene's background."""
    background = scene.background()
    return scene.over_frames(lambda frame: call(frame, alpha_small, background))


def conditions(alpha: np.ndarray) -> dict:
    """What both sides worked on."""
    frame = scene.frames()[0]
    return {
        "frame": "1920x1080 BGR uint8 over a BGR image, BGR out",
        "alpha": "512x288 float32",
        "alpha_coverage": scene.coverage(alpha),
        "threads": 1,
        "bytes_floor": 3 * frame.nbytes + alpha.nbytes,
    }


def exact_composite(frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Bilinear enlargement with half-pixel centres and the composite in float64, not rounded."""
    alpha = enlarge(alpha_small.astype(np.float64), frame.shape[:2])[..., None]
    return frame * alpha + background * (1 - alpha)


def enlarge(alpha: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear, half-pixel centres, edges repeated; float64."""
    for axis in (0, 1):
        position = np.clip((np.arange(shape[axis]) + 0.5) * alpha.shape[axis] / shape[axis] - 0.5, 0, None)
        low = np.minimum(position.astype(int), alpha.shape[axis] - 1)
        high = np.minimum(low + 1, alpha.shape[axis] - 1)
        part = np.expand_dims(np.clip(position - low, 0, 1), 1 - axis)
        alpha = alpha.take(low, axis) * (1 - part) + alpha.take(high, axis) * part
    return alpha


def check_composite(contenders: dict[str, Callable], alpha: np.ndarray) -> list[Check]:
    """Every contender against the exact composite."""
    frame, background = scene.frames()[0], scene.background()
    exact = exact_composite(frame, alpha, background)
    return [
        checked(
            f"{name} against the exact composite, of 255",
            _worst(call(frame, alpha, background), exact),
            LIMIT,
        )
        for name, call in contenders.items()
    ]


def check_refine(refined: Callable, full: references.FullGuidedComposite, alpha: np.ndarray) -> list[Check]:
    """Near the full-size filter's result on average; the frame or the background away from the edge."""
    frame, background = scene.frames()[0], scene.background()
    result = refined(frame, alpha, background).astype(np.int16)
    reference = full(frame, alpha, background).astype(np.int16)
    exact = enlarge(alpha.astype(np.float64), frame.shape[:2])
    box = 2 * round(RADIUS * 3.75) + 1
    surely_in = cv2.erode(exact, np.ones((2 * box, 2 * box))) > 0.999
    surely_out = cv2.dilate(exact, np.ones((2 * box, 2 * box))) < 0.001
    return [
        checked(
            "mean difference from the full-size guided filter, of 255",
            _mean(result, reference),
            REFINED_LIMIT,
        ),
        checked(
            "foreground away from the edge is the frame, of 255",
            _worst(result[surely_in], frame[surely_in]),
            LIMIT,
        ),
        checked(
            "background away from the edge is the image, of 255",
            _worst(result[surely_out], background[surely_out]),
            LIMIT,
        ),
    ]


def _worst(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).max())


def _mean(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).mean())
