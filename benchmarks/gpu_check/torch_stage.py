"""livecut's frame beside the loop that people write first: NumPy, PyTorch, NumPy, one after the other."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from livecut.engine.manifest import Manifest

from .cases import planes_of
from .frame_stages import _per_frame_ms, frames, opened
from .gpu import many
from .results import Check, NotRun, Report, figure, ratio
from .torch_graph import TorchGraph


class SerialLoop:
    """cv2 and float NumPy around eager PyTorch in FP16, with a wait in every step."""

    def __init__(self, manifest: Manifest, size_wh: tuple[int, int], device: str = "cuda") -> None:
        self._graph = TorchGraph(manifest.model_path, device, half=device == "cuda")
        self._manifest, self._size_wh = manifest, size_wh
        self._state = {
            each.input: self._graph.tensor(np.zeros(each.shape_for(size_wh), np.float32))
            for each in manifest.state
        }

    def frame(self, picture: np.ndarray, background: np.ndarray) -> np.ndarray:
        """uint8 BGR ``(H, W, 3)`` over a background, rounded."""
        import cv2

        small = cv2.resize(picture, self._size_wh, interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.float32)
        scaled = (small - np.float32(self._manifest.mean)) / np.float32(self._manifest.std)
        image = self._graph.tensor(scaled.transpose(2, 0, 1)[None])
        found = self._graph({self._manifest.input_name: image, **self._state})
        self._state = {each.input: found[each.output] for each in self._manifest.state}
        alpha = found[self._manifest.output_name].float().cpu().numpy()[0, 0]
        full = cv2.resize(alpha, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
        blended = picture.astype(np.float32) * full + background.astype(np.float32) * (1 - full)
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def serial_loop(report: Report, settings: dict[str, Any]) -> None:
    """Time a frame of both at 1080p, and that both make much the same picture."""
    with opened(report, settings) as here:
        loop_device = settings.get("torch_device", "cuda")
        if loop_device == "cuda":
            try:
                import torch
            except ImportError:
                raise NotRun("PyTorch is not installed") from None
            if not torch.cuda.is_available():
                raise NotRun(f"PyTorch {torch.__version__} has no CUDA")
            report.facts["PyTorch"] = torch.__version__
        frame_wh = frames(settings)["1080p"]
        loop = SerialLoop(here.engine.manifest, here.engine.size_wh, loop_device)
        picture = planes_of(np.random.default_rng(2), "BGR", frame_wh)[0]
        background = np.empty_like(picture)
        background[:] = (64, 177, 0)
        paths = here.paths(frame_wh, 3)
        try:
            ours_first = paths.next()
            ours_first.collect()
            theirs = loop.frame(picture, background)
            apart = float(
                np.abs(ours_first.finished.block.reshape(picture.shape).astype(np.int64) - theirs).mean()
            )
            # livecut refines and decontaminates, the loop does not: edges differ, the rest does not.
            report.checks.append(Check("much the same picture, mean level apart", apart <= 6, apart, 6))
            ours = _per_frame_ms(paths, many(settings, 20), many(settings, 60))
        finally:
            paths.free()
        slow = []
        for number in range(many(settings, 20) + 3):
            started = time.perf_counter()
            loop.frame(picture, background)
            if number >= 3:
                slow.append(1e3 * (time.perf_counter() - started))
    count = min(len(ours), len(slow))
    report.figures.append(figure("1080p, livecut, time a frame", "ms", ours))
    report.figures.append(figure("1080p, serial eager PyTorch FP16 loop, time a frame", "ms", slow))
    report.figures.append(ratio("the loop's time over livecut's", slow[:count], ours[:count], target=40))
