"""Each peer as a function: RGB frame ``(H, W, 3)`` in, what it makes of it out."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from livecut.engine.session import Session

from .. import references, scene, u2netp
from ..loops import Network

Cut = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """One line of the table."""

    name: str
    computes: str
    """What it does to a frame, so that nobody compares two different things unknowingly."""
    cut: Cut
    gives: tuple[int, ...]
    """Shape of its result: the check before timing."""
    frames: int
    """In one turn: slow ones get fewer."""


class NotHere(Exception):
    """A peer cannot be measured here; the text says why."""


class SerialCv2:
    """A good engineer's serial loop around the same network: buffers kept, OpenCV threaded."""

    def __init__(self, network: Network) -> None:
        self.network = network
        manifest = network.manifest
        self.prepare = references.Cv2Preprocess(network.size_wh, manifest.mean, manifest.std)
        width, height = scene.FRAME_WH
        self.alpha = np.empty((height, width), np.uint8)
        self.out = np.empty((height, width, 4), np.uint8)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        small = self.network(self.prepare(frame))
        large = cv2.resize(small, scene.FRAME_WH, interpolation=cv2.INTER_LINEAR)
        cv2.convertScaleAbs(large, dst=self.alpha, alpha=255.0)
        self.out[..., :3] = frame
        self.out[..., 3] = self.alpha
        return self.out


def one_at_a_time(session: Session) -> Peer:
    """livecut without its pipeline."""
    height, width = scene.FRAME_WH[::-1]
    return Peer(
        "livecut, one frame at a time",
        "the same, each frame finished before the next begins",
        session.cut,
        (height, width, 4),
        30,
    )


def bare_network(network: Network, frames: Any) -> Peer:
    """The network alone: what nothing around it can be faster than."""
    manifest = network.manifest
    prepare = references.Cv2Preprocess(network.size_wh, manifest.mean, manifest.std)
    ready = prepare(frames[0]).copy()
    width, height = network.size_wh
    return Peer(
        "its network alone, in bare OpenVINO",
        f"one inference at {width}x{height} on an input that is ready: no frame is read, none is made",
        lambda frame: network(ready),
        (height, width),
        30,
    )


def cv2_numpy(network: Network) -> Peer:
    """What one writes with OpenCV and NumPy."""
    height, width = scene.FRAME_WH[::-1]
    return Peer(
        "OpenCV + NumPy loop, the same network",
        "resize, normalise, the same inference, alpha enlarged by cv2.resize; edges not refined, colours not "
        "freed of the background",
        SerialCv2(network),
        (height, width, 4),
        20,
    )


def rembg_sessions(threads: int, folder: Path) -> Iterator[Peer]:
    """rembg's own ``remove`` with a U2Netp of random weights, plain and with its foreground estimation."""
    rembg = _imported("rembg")
    import onnxruntime

    # rembg takes a model of one's own only from its own folder, and would otherwise download one.
    os.environ["REMBG_HOME"] = str(folder)
    os.environ.pop("U2NET_HOME", None)
    path = folder / "u2netp-random.onnx"
    path.write_bytes(u2netp.build().SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = rembg.new_session(
        "u2net_custom", sess_opts=options, model_path=str(path), providers=["CPUExecutionProvider"]
    )
    height, width = scene.FRAME_WH[::-1]
    version = metadata.version("rembg")
    network = "U2Netp's architecture at 320x320 (19.8 GMACs) with random weights in ONNX Runtime fp32"
    yield Peer(
        f"rembg {version}, remove()",
        f"{network}; Lanczos both ways, Pillow composite over nothing",
        lambda frame: rembg.remove(frame, session=session),
        (height, width, 4),
        3,
    )
    yield Peer(
        f"rembg {version}, remove(decontaminate=True)",
        "the same, and pymatting's foreground estimation: the nearest to what livecut does to colours",
        lambda frame: rembg.remove(frame, session=session, decontaminate=True),
        (height, width, 4),
        2,
    )


def mediapipe_selfie() -> Peer:
    """MediaPipe's selfie segmentation with the model in its wheel."""
    version = _version("mediapipe")
    with _quiet():
        try:
            from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
        except ImportError as error:
            raise NotHere(
                f"mediapipe {version} has no selfie model in its wheel, or does not load: {error}"
            ) from None
        segmenter = SelfieSegmentation(model_selection=1)
    height, width = scene.FRAME_WH[::-1]
    alpha, out = np.empty((height, width), np.uint8), np.empty((height, width, 4), np.uint8)

    def cut(frame: np.ndarray) -> np.ndarray:
        mask = segmenter.process(frame).segmentation_mask
        cv2.convertScaleAbs(mask, dst=alpha, alpha=255.0)
        out[..., :3], out[..., 3] = frame, alpha
        return out

    return Peer(
        f"MediaPipe {version}, selfie segmentation",
        "a network for people at 256x144 (0.1 M parameters) in TensorFlow Lite with XNNPACK, on as many "
        "threads as it takes; mask enlarged, edges not refined",
        cut,
        (height, width, 4),
        10,
    )


def _imported(name: str) -> Any:
    version = _version(name)
    try:
        with _quiet():
            return __import__(name)
    except (ImportError, SystemExit) as error:
        raise NotHere(f"{name} {version} does not load: {error}") from None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise NotHere(f"{name} is not installed: make bench-peers installs it where it can be had") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what a library prints while it is imported."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def folder_for_models() -> tempfile.TemporaryDirectory[str]:
    """Where the random weights lie while they are measured."""
    return tempfile.TemporaryDirectory(prefix="livecut-peers-")
