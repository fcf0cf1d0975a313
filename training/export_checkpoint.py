"""A checkpoint to a bundle that ships.

    python -m livecut.training.export_checkpoint runs/livecut-s/checkpoint.pt --data ../shared/data \\
        --out models/livecut-s
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..export.bundle import write_bundle
from ..export.onnx import OPSET, export_onnx
from ..export.parity import Parity, check_parity, edge_cases
from .card import Facts, write_card
from .checkpoint import load_checkpoint
from .config import CONFIGS, SIZES_WH
from .data import geometry
from .data.cache import Packed
from .data.catalogue import FOLDERS
from .evaluate import results, summarise, table, validation_pairs
from .ledger import build_ledger
from .model.network import STRIDE, count_gmacs
from .predictors import Size, averaged_network, nearest_size, onnx_predictor

LICENCE = "Apache-2.0"
BACKGROUND_FOLDERS = ("cutouts_rgba", "backgrounds")
PARITY_PICTURES = 12


def network_inputs(packed: Packed, count: int, sizes_wh: Sequence[Size]) -> Iterator[np.ndarray]:
    """Some pictures of ``packed`` as the network gets them, float32 (1, 3, H, W)."""
    for index in range(0, len(packed), max(1, len(packed) // count)):
        image = np.ascontiguousarray(packed[index][..., :3])
        blank = np.zeros(image.shape[:2], np.uint8)
        framed, _ = geometry.letterbox(image, blank, nearest_size(image.shape[1::-1], sizes_wh))
        yield np.ascontiguousarray(framed.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(127.5) - 1


def build_manifest(
    network: nn.Module, name: str, version: str, metrics: dict[str, Any], sizes_wh: Sequence[Size] = SIZES_WH
) -> dict[str, Any]:
    """The bundle's manifest, but for the file and its hash."""
    width, height = sizes_wh[0]
    return {
        "format": 1,
        "name": name,
        "version": version,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "dtype": "float32",
            "color": "RGB",
            "mean": [127.5, 127.5, 127.5],
            "std": [127.5, 127.5, 127.5],
            "sizes_wh": [list(size) for size in sizes_wh],
            "multiple_of": STRIDE,
            "fit": "letterbox",
            "pad_value": [geometry.PAD_VALUE] * 3,
        },
        "output": {"name": "alpha", "range": [0, 1]},
        "state": [],
        "gmacs": round(count_gmacs(network, width, height), 3),
        "params": count_parameters(network),
        "licence": LICENCE,
        "ledger": "LEDGER.json",
        "metrics": metrics,
        "opset": OPSET,
    }


def count_parameters(network: nn.Module) -> int:
    """Numbers in the exported graph: without the side outputs, which serve training only."""
    return sum(
        value.numel()
        for name, value in network.named_parameters()
        if ".side16" not in name and ".side8" not in name
    )


def export_checkpoint(
    checkpoint: Path, data: Path, out: Path, *, cache: Path, version: str, failures: str
) -> tuple[Parity, dict[str, dict[str, float]]]:
    """Export the averaged network of ``checkpoint``, check it, validate it and write the bundle ``out``.

    Returns
    -------
    parity : Parity
        ONNX against torch.
    summary : dict
        Validation of the ONNX file, by folder.

    Raises
    ------
    CheckpointError, ParityError, ValueError
        If the checkpoint is not usable, the ONNX file computes something else, or a licence is missing.
        ``out`` is then as it was.
    """
    state = load_checkpoint(checkpoint)
    trained, config = averaged_network(checkpoint)
    network = trained.folded()  # type: ignore[operator]
    sizes_wh = [(width, height) for width, height in config.get("input_sizes", SIZES_WH)]
    packed = validation_pairs(data, cache)
    if not len(packed):
        raise ValueError(f"{data}: no held-out pair to validate on; give the data folder with --data")
    used = sorted({*(folder for folder in FOLDERS if (data / folder).is_dir()), *BACKGROUND_FOLDERS})
    used = [folder for folder in used if (data / folder).is_dir()]
    ledger = build_ledger(data, used, state["config"]["encoder_weights"])
    width, height = sizes_wh[0]
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        export_onnx(network, model, height=height, width=width)
        inputs = [*edge_cases(height, width), *network_inputs(packed, PARITY_PICTURES, sizes_wh)]
        parity = check_parity(network, model, inputs)
        measured = list(results(onnx_predictor(model, sizes_wh=sizes_wh), packed))
        summary = summarise(measured)
        metrics = {name: round(value, 5) for name, value in summary["all"].items()}
        manifest = build_manifest(network, config["name"], version, metrics, sizes_wh)
        log_file = checkpoint.parent / "log.txt"
        facts = Facts(
            name=state["config"]["name"],
            version=version,
            licence=LICENCE,
            gmacs=manifest["gmacs"],
            params=manifest["params"],
            sizes_wh=sizes_wh,
            config=state["config"],
            counters=state["counters"],
            summary=summary,
            parity=f"ONNX against torch on {parity.inputs} inputs: at most {parity.max_abs:.1e} apart.",
            log=log_file.read_text(encoding="utf-8").splitlines() if log_file.is_file() else [],
            failures=failures,
            folders=[
                *used,
                *(entry["folder"] for entry in ledger["data"] if entry["folder"] in ("models3d", "envmaps")),
            ],
        )
        write_bundle(out, model=model, manifest=manifest, card=write_card(facts), ledger=ledger)
    return parity, summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m livecut.training.export_checkpoint", description=__doc__.splitlines()[0]
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a run")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to write, or to replace")
    parser.add_argument(
        "--cache", type=Path, help="where decoded pictures are kept (default: beside the checkpoint)"
    )
    parser.add_argument("--version", default="0.1.0", help="version of the bundle")
    parser.add_argument(
        "--failures", type=Path, help="Markdown on known failures (default: configs/NAME.failures.md)"
    )
    options = parser.parse_args(arguments)
    try:
        name = load_checkpoint(options.checkpoint)["config"]["name"]
        notes = options.failures or CONFIGS / f"{name}.failures.md"
        parity, summary = export_checkpoint(
            options.checkpoint,
            options.data,
            options.out,
            cache=options.cache or options.checkpoint.parent / "cache",
            version=options.version,
            failures=notes.read_text(encoding="utf-8") if notes.is_file() else "Not examined.",
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(summary))
    print(f"{options.out}: {parity.inputs} inputs agree with torch within {parity.max_abs:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
