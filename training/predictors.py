"""Anything that gives alpha for a picture, behind one call: networks, checkpoints, ONNX files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from .. import kernels
from ..engine.errors import ModelError
from ..engine.manifest import Manifest
from .checkpoint import CheckpointError
from .config import CHECKPOINT, SIZES_WH
from .data.geometry import PAD_VALUE
from .device import autocast
from .model.build import build_network
from .model.network import count_gmacs, count_parameters
from .model.plate import PlateNetwork

Size = tuple[int, int]
Run = Callable[[np.ndarray], np.ndarray]
MEAN = STD = (127.5, 127.5, 127.5)  # of a network's input: RGB in 0..255 to -1..1


class Predictor(Protocol):
    """Alpha of one picture after another. Where ``begins_with_plate``, the first is to be the empty place."""

    begins_with_plate: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Alpha float32 (H, W), 0..1, of ``image``, uint8 (H, W, 3) RGB of any size."""
        ...

    def reset(self) -> None:
        """Forget the previous frames: another clip, or an unrelated picture, begins."""
        ...


class Framed:
    """Runs a network at the one of its sizes that fits a picture: letterboxed in, enlarged out, not refined.

    Parameters
    ----------
    run : callable
        float32 (1, 3, h, w) to alpha, float32 (h, w).
    sizes_wh : sequence of (int, int)
    mean, std, order, fit, pad_value
        As in a manifest.
    forget : callable, optional
        Called by ``reset``.

    Attributes
    ----------
    facts : dict
        What is known of a checkpoint's network: ``name``, ``mparams`` (millions of parameters at work) and
        ``gmac`` (at the first size).
    """

    def __init__(
        self,
        run: Run,
        sizes_wh: Sequence[Size] = SIZES_WH,
        *,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        order: str = "RGB",
        fit: str = "letterbox",
        pad_value: Sequence[float] = (PAD_VALUE,) * 3,
        forget: Callable[[], None] | None = None,
    ) -> None:
        self.run, self.sizes_wh, self.forget = run, tuple(sizes_wh), forget
        self.facts: dict[str, Any] = {}
        self.begins_with_plate = False
        self.mean, self.std, self.order, self.fit, self.pad_value = mean, std, order, fit, pad_value

    def __call__(self, image: np.ndarray) -> np.ndarray:
        import cv2

        x, geometry = self.frame(image)
        left, top, width, height = geometry.roi
        alpha = np.ascontiguousarray(self.run(x)[top : top + height, left : left + width])
        size_wh = (image.shape[1], image.shape[0])
        return np.clip(cv2.resize(alpha, size_wh, interpolation=cv2.INTER_LINEAR), 0, 1)

    def frame(self, image: np.ndarray) -> tuple[np.ndarray, kernels.Geometry]:
        """The network's input float32 (1, 3, h, w) for ``image``, by the engine's own kernel."""
        frame_wh = (image.shape[1], image.shape[0])
        width, height = size_wh = nearest_size(frame_wh, self.sizes_wh)
        geometry = kernels.fit(frame_wh, size_wh, self.fit)
        x = np.empty((1, 3, height, width), np.float32)
        kernels.preprocess(
            np.ascontiguousarray(image), format="RGB", geometry=geometry, mean=self.mean, std=self.std,
            order=self.order, pad_value=self.pad_value, out=x,
        )  # fmt: skip
        return x, geometry

    def reset(self) -> None:
        if self.forget is not None:
            self.forget()


def nearest_size(frame_wh: Size, sizes_wh: Sequence[Size] = SIZES_WH) -> Size:
    """Of ``sizes_wh`` the one whose aspect is nearest to the frame's, as the engine chooses."""
    aspect = np.log(frame_wh[0] / frame_wh[1])
    return min(sizes_wh, key=lambda size: abs(np.log(size[0] / size[1]) - aspect))


def torch_predictor(
    network: nn.Module,
    sizes_wh: Sequence[Size] = SIZES_WH,
    *,
    device: torch.device | None = None,
    bfloat16: bool = False,
) -> Framed:
    """A predictor of a network in evaluation mode on ``device``, the CPU by default.

    A network with a memory is given its state from picture to picture, one with a plate takes the first
    picture for it; ``reset`` begins anew.
    """
    device = device or torch.device("cpu")
    takes_plate = isinstance(network, PlateNetwork)
    remembers = getattr(network, "memory", None) is not None
    state: dict[str, Any] = {}

    def run(x: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(x).to(device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device, bfloat16):
            if takes_plate:
                return network(image, state.setdefault("plate", image))[0, 0].float().cpu().numpy()
            if not remembers:
                return network(image)[0, 0].float().cpu().numpy()
            before = state.get("previous")
            if before is None or before[0].shape[-2:] != image.shape[-2:]:
                before = network.blank_state(image)  # type: ignore[operator]
            alpha, *state["previous"] = network.step(image, *before)  # type: ignore[operator]
        return alpha[0, 0].float().cpu().numpy()

    predictor = Framed(run, sizes_wh, forget=state.clear)
    predictor.begins_with_plate = takes_plate
    return predictor


def onnx_predictor(
    path: Path, manifest: Manifest | None = None, sizes_wh: Sequence[Size] = SIZES_WH
) -> Framed:
    """A predictor of an ONNX file, run by ONNX Runtime on the CPU.

    Without a manifest the file must take one picture as ``livecut``'s own networks do, at ``sizes_wh``. With
    one it is fed as the manifest says, state tensors included.

    Raises
    ------
    ModelError
        If the file cannot be loaded, or has several inputs and no manifest.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work gets the cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds for a damaged file
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({type(error).__name__})") from error
    known = {value.name: value for value in session.get_inputs()}
    if manifest is None:
        name = session.get_inputs()[0].name
        if len(known) > 1:
            raise ModelError(
                f"{path}: takes {', '.join(known)}, and only a manifest says which is what: "
                "give the bundle's folder"
            )
        return Framed(lambda x: session.run(None, {name: x})[0][0, 0], sizes_wh)
    state: dict[str, np.ndarray] = {}
    tensors = manifest.state
    outputs = [manifest.output_name, *(tensor.output for tensor in tensors)]

    def run(x: np.ndarray) -> np.ndarray:
        size_wh = (x.shape[3], x.shape[2])
        feeds: dict[str, Any] = {manifest.input_name: x}
        for tensor in tensors:
            shape = tensor.shape_for(size_wh)
            before = state.get(tensor.input)
            feeds[tensor.input] = (
                np.zeros(shape, np.float32) if before is None or before.shape != shape else before
            )
        alpha, *after = session.run(outputs, feeds)
        state.update({tensor.input: value for tensor, value in zip(tensors, after, strict=True)})
        return alpha[0, 0]

    predictor = Framed(
        run, manifest.sizes_wh, mean=manifest.mean, std=manifest.std, order=manifest.color, fit=manifest.fit,
        pad_value=manifest.pad_value, forget=state.clear,
    )  # fmt: skip
    predictor.begins_with_plate = manifest.begins_with == "plate"
    return predictor


def open_predictor(path: Path, device: torch.device | None = None) -> Framed:
    """The predictor of a bundle's or a run's folder, an ONNX file, or a checkpoint (its averaged network).

    Raises
    ------
    ValueError
        If it is none of them, or cannot be used.
    """
    path = Path(path)
    if (path / "manifest.json").is_file():
        manifest = Manifest.load(path)
        manifest.check_file()
        return onnx_predictor(manifest.model_path, manifest)
    if (path / CHECKPOINT).is_file():
        path = path / CHECKPOINT
    if not path.is_file():
        raise ValueError(
            f"{path}: no such model; expected a bundle's or a run's folder, an .onnx or a .pt file"
        )
    if path.suffix == ".onnx":
        return onnx_predictor(path)
    network, config = averaged_network(path)
    sizes = [(width, height) for width, height in config.get("input_sizes", SIZES_WH)]
    facts = {
        "name": config["name"],
        "mparams": count_parameters(network) / 1e6,
        "gmac": count_gmacs(network, *sizes[0]),
    }
    predictor = torch_predictor(network.to(device or "cpu"), sizes, device=device)
    predictor.facts = facts
    return predictor


def averaged_network(checkpoint: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged network of a checkpoint, in evaluation mode, and the configuration it was trained with.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of a network this version does not have.
    """
    from .weights import read_weights

    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such checkpoint")
    weights, config = read_weights(checkpoint)
    try:
        network = build_network(config.get("method", "matting"), config["network"])
        network.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{checkpoint}: of a network that this version does not have ({reason})"
        ) from error
    return network.eval(), config
