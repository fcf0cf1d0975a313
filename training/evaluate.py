"""Validation of a network on the held-out pictures: a table, JSON, and the worst pictures.

``python -m livecut.training.evaluate models/livecut-s --data ../shared/data --out runs/evaluation``
takes a bundle, an ONNX file or a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ..export.parity import open_session
from . import metrics, sheets
from .checkpoint import load_checkpoint
from .data import geometry
from .data.cache import Packed, pack
from .data.catalogue import read_catalogue
from .data.dataset import to_network
from .model.network import MattingNetwork

# The sizes (width, height) the engine offers; a picture goes to the one whose shape is nearest.
SIZES_WH = ((512, 288), (448, 320), (384, 384), (320, 448), (288, 512))
METRICS = ("mae", "mse", "sad", "grad", "conn", "iou", "boundary_f")
WORST = 24
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass
class Result:
    """One validated picture, at its own size: what was measured, and what to show."""

    name: str
    folder: str
    image: np.ndarray
    alpha: np.ndarray
    predicted: np.ndarray
    values: dict[str, float]


def nearest_size(frame_wh: tuple[int, int]) -> tuple[int, int]:
    """The engine's size whose aspect is nearest to the frame's."""
    aspect = np.log(frame_wh[0] / frame_wh[1])
    return min(SIZES_WH, key=lambda size: abs(np.log(size[0] / size[1]) - aspect))


def torch_predictor(network: nn.Module, *, bfloat16: bool = False) -> Predict:
    """Wrap a network: uint8 picture (H, W, 3) RGB to alpha float32 (H, W), both of the input's size."""

    def predict(image: np.ndarray) -> np.ndarray:
        x = to_network(torch.from_numpy(image).permute(2, 0, 1)[None])
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return network(x)[0, 0].float().numpy()

    return predict


def onnx_predictor(path: Path) -> Predict:
    """Wrap an ONNX file, run by ONNX Runtime on the CPU; used like ``torch_predictor``'s."""
    session = open_session(path)
    name = session.get_inputs()[0].name

    def predict(image: np.ndarray) -> np.ndarray:
        x = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(127.5) - 1
        return session.run(None, {name: np.ascontiguousarray(x)})[0][0, 0]

    return predict


def open_predictor(path: Path) -> Predict:
    """The predictor of a bundle's folder, an ONNX file or a checkpoint (its averaged network).

    Raises
    ------
    ValueError
        If it is none of them.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.onnx"
    if not path.is_file():
        raise ValueError(f"{path}: no such model; expected a bundle's folder, an .onnx or a .pt file")
    if path.suffix == ".onnx":
        return onnx_predictor(path)
    return torch_predictor(averaged_network(path))


def averaged_network(checkpoint: Path) -> MattingNetwork:
    """The averaged network of a checkpoint, in evaluation mode."""
    state = load_checkpoint(checkpoint)
    network = MattingNetwork(**state["config"]["network"])
    network.load_state_dict(state["average"])
    return network.eval()


def matte(predict: Predict, image: np.ndarray) -> np.ndarray:
    """Alpha of ``image``, uint8 (H, W, 3) RGB, at its own size: letterboxed in, enlarged out, not refined."""
    height, width = image.shape[:2]
    size = nearest_size((width, height))
    framed, _ = geometry.letterbox(image, np.zeros((height, width), np.uint8), size)
    x, y, w, h = geometry.fit_inside((width, height), size)
    alpha = predict(framed)[y : y + h, x : x + w]
    return np.clip(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def results(predict: Predict, packed: Packed, names: Sequence[str] = METRICS) -> Iterator[Result]:
    """Measure each pair of ``packed`` with the metrics called ``names``."""
    for index, item in enumerate(packed.items):
        rgba = packed[index]
        image, alpha = rgba[..., :3], rgba[..., 3].astype(np.float32) / 255
        predicted = matte(predict, image)
        values = {name: getattr(metrics, name)(predicted, alpha) for name in names}
        yield Result(item.image.name, item.folder, image, alpha, predicted, values)


def summarise(measured: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Mean of every metric and the number of pictures: over each folder, and over ``all``."""
    groups: dict[str, list[Result]] = {"all": list(measured)}
    for result in measured:
        groups.setdefault(result.folder, []).append(result)
    return {
        group: {
            "pictures": len(members),
            **{
                name: float(np.mean([member.values[name] for member in members]))
                for name in members[0].values
            },
        }
        for group, members in groups.items()
        if members
    }


def table(summary: dict[str, dict[str, float]]) -> str:
    """A summary as a Markdown table, one row for each folder."""
    names = list(next(iter(summary.values())))
    lines = ["| data | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for group, values in summary.items():
        cells = [f"{value:d}" if name == "pictures" else f"{value:.4f}" for name, value in values.items()]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_worst(measured: Sequence[Result], path: Path, count: int = WORST) -> None:
    """A sheet of the pictures with the lowest IoU: picture, mask, prediction, cut-out over magenta."""
    worst = sorted(measured, key=lambda result: result.values["iou"])[:count]
    rows = [
        [r.image, sheets.grey(r.alpha), sheets.grey(r.predicted), sheets.over(r.image, r.predicted)]
        for r in worst
    ]
    labels = [f"{r.name} iou {r.values['iou']:.2f}" for r in worst]
    sheets.sheet(rows, path, labels=labels)


def validation_pairs(data: Path, cache: Path) -> Packed:
    """The held-out pairs of a data folder, decoded."""
    items = read_catalogue(data).items
    return pack([item for item in items if item.validation and item.kind == "pair"], cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m livecut.training.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", type=Path, help="a bundle's folder, an .onnx or a .pt file")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="where the results go")
    parser.add_argument("--cache", type=Path, help="where decoded pictures are kept (default: OUT/cache)")
    options = parser.parse_args(arguments)
    try:
        packed = validation_pairs(options.data, options.cache or options.out / "cache")
        measured = list(results(open_predictor(options.model), packed))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not measured:
        print(f"error: {options.data}: no held-out pair in it", file=sys.stderr)
        return 1
    summary = summarise(measured)
    pictures = [{"name": r.name, "folder": r.folder, **r.values} for r in measured]
    options.out.mkdir(parents=True, exist_ok=True)
    report = json.dumps({"summary": summary, "pictures": pictures}, indent=1)
    (options.out / "evaluation.json").write_text(report + "\n", encoding="utf-8")
    write_worst(measured, options.out / "worst.png")
    print(table(summary))
    print(f"each picture: {options.out / 'evaluation.json'}; the worst: {options.out / 'worst.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
