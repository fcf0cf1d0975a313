"""How much worse a model is than the one it was made from: on still pictures and on clips that move.

MAE is the mean absolute error of alpha. dtSSD is the error of its change from frame to frame: an alpha may be
near the truth in each frame and flicker all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..engine.manifest import Manifest
from ..engine.openvino_core import openvino_core
from .calibration import Clip, Frames, Label, first_state, make_clip
from .ranges import open_ort

if TYPE_CHECKING:
    import onnx

LIMIT = 0.05
"""By how much MAE and dtSSD may grow, relative to the float model's."""
Runtime = Literal["openvino", "openvino-fp32", "onnxruntime"]
Alphas = list[np.ndarray]


@dataclass(frozen=True)
class Growth:
    """Both models' errors over the same frames."""

    mae: float
    dtssd: float
    float_mae: float
    float_dtssd: float
    alpha_mad: float
    """Mean absolute difference of the two models' alphas."""
    stills: int
    clips: int
    labelled: bool
    """Whether the truth was masks; else it was the float model's own alpha of the whole picture at rest."""

    @property
    def mae_growth(self) -> float:
        """Relative; 0.05 is five per cent worse."""
        return self.mae / max(self.float_mae, 1e-9) - 1

    @property
    def dtssd_growth(self) -> float:
        """Relative, as ``mae_growth``."""
        return self.dtssd / max(self.float_dtssd, 1e-9) - 1

    def problems(self, limit: float = LIMIT) -> list[str]:
        """What grew by more than ``limit``, one line each; empty where nothing did."""
        grown = {"MAE": (self.mae_growth, self.float_mae, self.mae)}
        grown["dtSSD"] = (self.dtssd_growth, self.float_dtssd, self.dtssd)
        return [
            f"{name} grows by {growth:.1%}, from {before:.5f} to {after:.5f}; the limit is {limit:.0%}"
            for name, (growth, before, after) in grown.items()
            if not growth <= limit
        ]

    def to_json(self) -> dict[str, float]:
        """For a passport's ``parity``."""
        return {
            "alpha_mad": self.alpha_mad,
            "mae": self.mae,
            "mae_float": self.float_mae,
            "mae_growth": self.mae_growth,
            "dtssd": self.dtssd,
            "dtssd_float": self.float_dtssd,
            "dtssd_growth": self.dtssd_growth,
        }


class Judge:
    """Compares models with the float one they come from, whose results are computed once."""

    def __init__(self, source: onnx.ModelProto, frames: Frames, manifest: Manifest, runtime: Runtime) -> None:
        self.manifest, self.runtime = manifest, runtime
        self._float: Runtime = "onnxruntime" if runtime == "onnxruntime" else "openvino-fp32"
        self.labelled = frames.labelled
        self.stills, self.moving = frames.stills, frames.moving
        self.clips = [*self.stills, *self.moving]
        self.expected = run_clips(source, self.clips, manifest, self._float)

    def growth(self, candidate: onnx.ModelProto) -> Growth:
        """Judge ``candidate`` on everything."""
        results = run_clips(candidate, self.clips, self.manifest, self.runtime)
        clips, moving = self.clips, len(self.moving)
        differences = [
            _mean_difference(c, a, e) for c, a, e in zip(clips, results, self.expected, strict=True)
        ]
        return Growth(
            mae=_mean_error(clips, results),
            dtssd=_mean_flicker(clips[-moving:] if moving else [], results[-moving:]),
            float_mae=_mean_error(clips, self.expected),
            float_dtssd=_mean_flicker(clips[-moving:] if moving else [], self.expected[-moving:]),
            alpha_mad=float(np.mean(differences)),
            stills=len(self.stills),
            clips=moving,
            labelled=self.labelled,
        )

    def distance(self, candidate: onnx.ModelProto, most: int) -> float:
        """Mean squared difference of alpha from the float model's over ``most`` clips, some moving."""
        moving = max(1, most // 4)
        chosen = [*range(len(self.clips))[-moving:], *range(len(self.stills))[: most - moving]]
        clips = [self.clips[index] for index in chosen]
        results = run_clips(candidate, clips, self.manifest, self.runtime)
        errors = []
        for index, clip, got in zip(chosen, clips, results, strict=True):
            pairs = zip(got, self.expected[index], strict=True)
            errors.append(np.mean([np.square(a[clip.inside] - b[clip.inside]).mean() for a, b in pairs]))
        return float(np.mean(errors))


def labeller(source: onnx.ModelProto, manifest: Manifest) -> Label:
    """What gives a picture and its plate, uint8 ``(H, W, 3)`` RGB, the float model's mask."""

    data, opened = source.SerializeToString(), {}

    def label(image: np.ndarray, plate: np.ndarray | None) -> np.ndarray:
        import cv2

        clip = make_clip(image, None, manifest, plate=plate)
        if clip.shape not in opened:
            opened[clip.shape] = _open(data, manifest, clip.shape, "openvino-fp32")
        alpha = _one(opened[clip.shape], clip, manifest)[0][clip.inside]
        enlarged = cv2.resize(alpha, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.rint(np.clip(enlarged, 0, 1) * 255).astype(np.uint8)

    return label


def dtssd(alphas: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """Root mean squared error of the change of alpha from each frame to the next, averaged over frames.

    Arrays are float ``(H, W)``, 0..1; at least two.
    """
    errors = [
        np.sqrt(np.square((now - before) - (true_now - true_before)).mean())
        for before, now, true_before, true_now in zip(alphas, alphas[1:], truth, truth[1:], strict=False)
    ]
    return float(np.mean(errors))


def run_clips(
    model: onnx.ModelProto, clips: Sequence[Clip], manifest: Manifest, runtime: Runtime
) -> list[Alphas]:
    """Alphas of every image of ``clips``, float32 ``(H, W)``; state runs from frame to frame of a clip, and
    from its plate to the first.

    Parameters
    ----------
    runtime : str
        ``openvino``: as the engine would run it on this machine, so with bf16 between INT8 layers where the
        chip has it; ``openvino-fp32``; ``onnxruntime``: the graph as it is written.
    """
    data = model.SerializeToString()
    found: list[Alphas] = [[] for _ in clips]
    for shape in dict.fromkeys(clip.shape for clip in clips):
        run = _open(data, manifest, shape, runtime)
        for index, clip in enumerate(clips):
            if clip.shape == shape:
                found[index] = _one(run, clip, manifest)
    return found


def _one(run, clip: Clip, manifest: Manifest) -> Alphas:  # type: ignore[no-untyped-def]
    alphas = []
    state = first_state(manifest, clip.shape)
    for image in clip.shown:
        results = run({manifest.input_name: image, **state})
        alphas.append(results[manifest.output_name][0, 0].astype(np.float32))
        state = {tensor.input: results[tensor.output] for tensor in manifest.state}
    return alphas[-len(clip.images) :]


def _open(data: bytes, manifest: Manifest, shape: tuple[int, ...], runtime: Runtime):  # type: ignore[no-untyped-def]
    names = [manifest.output_name, *(tensor.output for tensor in manifest.state)]
    if runtime == "onnxruntime":
        session = open_ort(data)
        return lambda feed: dict(zip(names, session.run(names, feed), strict=True))

    core = openvino_core()
    network = core.read_model(data)
    shapes = {manifest.input_name: list(shape)}
    shapes.update({name: list(array.shape) for name, array in first_state(manifest, shape).items()})
    network.reshape(shapes)
    quick = runtime == "openvino" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hint = {"INFERENCE_PRECISION_HINT": "bf16" if quick else "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(network, "CPU", hint).create_infer_request()

    def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        request.infer(feed)
        return {name: request.get_tensor(name).data.copy() for name in names}

    return run


def _mean_error(clips: Sequence[Clip], results: Sequence[Alphas]) -> float:
    return float(
        np.mean([_mean_difference(c, got, c.alphas or ()) for c, got in zip(clips, results, strict=True)])
    )


def _mean_difference(clip: Clip, alphas: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    pairs = zip(alphas, others, strict=True)
    return float(np.mean([np.abs(a[clip.inside] - b[clip.inside]).mean() for a, b in pairs]))


def _mean_flicker(clips: Sequence[Clip], results: Sequence[Alphas]) -> float:
    flicker = [
        dtssd([a[clip.inside] for a in got], [a[clip.inside] for a in clip.alphas or ()])
        for clip, got in zip(clips, results, strict=True)
    ]
    return float(np.mean(flicker)) if flicker else 0.0
