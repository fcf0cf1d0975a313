"""A checkpoint to a bundle that ships.

    python -m livecut.training.export_checkpoint runs/livecut-s/checkpoint.pt --data ../shared/data \\
        --out models/livecut-s
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..engine.manifest import Manifest
from ..engine.passport import Passport
from ..export.api import export_model
from ..export.bundle import write_bundle
from ..export.weights import module_source
from . import plate_validation
from .card import Facts, write_card
from .card_pictures import card_pictures
from .checkpoint import load_checkpoint
from .config import CONFIGS, SIZES_WH
from .data import geometry
from .data.cache import Packed, pack
from .data.catalogue import Catalogue, read_catalogue
from .evaluate import Result, results, summarise, table
from .ledger import build_ledger, with_earlier
from .model.exported import exported
from .model.network import STRIDE, count_gmacs, count_parameters
from .predictors import Framed, Size, averaged_network, onnx_predictor
from .program import exit_code, parser_of

LICENCE = "Apache-2.0"
PARITY_PICTURES = 8


def build_manifest(
    network: nn.Module, name: str, version: str, metrics: dict[str, Any], sizes_wh: Sequence[Size] = SIZES_WH
) -> tuple[nn.Module, dict[str, Any]]:
    """The module to export, and the bundle's manifest but for the file and its hash."""
    module, states = exported(network)
    manifest = {
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
            "multiple_of": getattr(network, "stride", STRIDE),
            "fit": "letterbox",
            "pad_value": [geometry.PAD_VALUE] * 3,
        },
        "output": {"name": "alpha", "range": [0, 1]},
        "state": states,
        "gmacs": round(count_gmacs(network, *sizes_wh[0]), 3),
        "params": count_parameters(network),
        "licence": LICENCE,
        "ledger": "LEDGER.json",
        "metrics": metrics,
    }
    if any(state["input"] == "known" for state in states):
        manifest["begins_with"] = "plate"
    return module, manifest


def export_checkpoint(
    checkpoint: Path, data: Path, out: Path, *, cache: Path, version: str, failures: str
) -> tuple[Passport, dict[str, dict[str, float]]]:
    """Export the averaged network of ``checkpoint``, check it, validate it and write the bundle ``out``.

    Returns
    -------
    passport : Passport
        Of the ONNX file, with its parity to torch.
    summary : dict
        Validation of the ONNX file, by folder; for a network with a plate, by what has changed.

    Raises
    ------
    CheckpointError, ParityError, ValueError
        If the checkpoint is not usable, the ONNX file computes something else, or a licence is missing.
        ``out`` is then as it was.
    """
    state = load_checkpoint(checkpoint)
    network, config = averaged_network(checkpoint)
    sizes_wh = [(width, height) for width, height in config.get("input_sizes", SIZES_WH)]
    catalogue = read_catalogue(data)
    packed = held_out(catalogue, cache, plates=config.get("method") == "plate")
    if not len(packed):
        raise ValueError(f"{data}: no held-out pair to validate on; give the data folder with --data")
    used = sorted(catalogue.folders)
    ledger = build_ledger(data, used, filter(None, [state["config"].get("encoder_weights", "")]))
    ledger = with_earlier(ledger, state.get("ledger", {}))
    module, manifest = build_manifest(network, config["name"], version, {}, sizes_wh)
    source = module_source(module, manifest, path=checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        made = export_model(source, folder, frames=lambda _, size_wh: pictures(packed, size_wh))[-1]
        summary, measured = validate(made.artefact, Manifest.load(folder), packed)
        manifest["metrics"] = {name: round(value, 5) for name, value in summary["all"].items()}
        manifest["opset"] = Manifest.load(folder).extra["opset"]
        earlier = state.get("earlier", [])
        manifest["trained"] = [*earlier, {"name": config["name"], **state["counters"]}]
        run = checkpoint.resolve().parent
        log_file, shown = run / "log.txt", card_pictures(run, measured)
        parity = made.passport.parity
        agreement = f"on {parity['inputs']:.0f} inputs: at most {parity['max_abs']:.1e} apart"
        facts = Facts(
            name=config["name"],
            version=version,
            licence=LICENCE,
            gmacs=manifest["gmacs"],
            params=manifest["params"],
            multiple_of=manifest["input"]["multiple_of"],
            sizes_wh=sizes_wh,
            config=state["config"],
            counters=state["counters"],
            summary=summary,
            parity=f"ONNX against torch {agreement}.",
            log=log_file.read_text(encoding="utf-8").splitlines() if log_file.is_file() else [],
            failures=failures,
            folders=[
                *(data.resolve().name if name == "." else name for name in used),
                *(entry["folder"] for entry in ledger["data"] if entry["folder"] in ("models3d", "envmaps")),
            ],
            run=run.name,
            earlier=earlier,
            pictures=list(shown),
        )
        card = write_card(facts)
        write_bundle(out, model=made.artefact, manifest=manifest, card=card, ledger=ledger, others=shown)
    return made.passport, summary


def held_out(catalogue: Catalogue, cache: Path, *, plates: bool = False) -> Packed:
    """The held-out pairs of a catalogue, decoded; with the plates of the rendered ones."""
    kinds = ("pair", "plate") if plates else ("pair",)
    return pack([item for item in catalogue.items if item.validation and item.kind in kinds], cache)


def pictures(packed: Packed, size_wh: Size) -> Iterator[tuple[str, np.ndarray]]:
    """Some pictures of ``packed`` as a network gets them: name and float32 (1, 3, height, width)."""
    framed = Framed(lambda x: x[0, 0], [size_wh])
    every = range(0, len(packed), max(1, len(packed) // PARITY_PICTURES))
    for index in itertools.islice(every, PARITY_PICTURES):
        yield packed.items[index].image.name, framed.frame(packed[index][..., :3])[0]


def validate(
    model: Path, manifest: Manifest, packed: Packed
) -> tuple[dict[str, dict[str, float]], list[Result]]:
    """Validation of an exported model, and what it was summed up from: nothing for one with a plate."""
    predict = onnx_predictor(model, manifest)
    if manifest.begins_with is None:
        measured = list(results(predict, packed))
        return summarise(measured), measured
    return plate_validation.validate(predict, packed), []


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("export_checkpoint", __doc__)
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
    return exit_code(_export, parser.parse_args(arguments))


def _export(options: argparse.Namespace) -> None:
    name = load_checkpoint(options.checkpoint)["config"]["name"]
    notes = options.failures or CONFIGS / f"{name}.failures.md"
    passport, summary = export_checkpoint(
        options.checkpoint,
        options.data,
        options.out,
        cache=options.cache or options.checkpoint.parent / "cache",
        version=options.version,
        failures=notes.read_text(encoding="utf-8") if notes.is_file() else "Not examined.",
    )
    print(table(summary))
    parity: Mapping[str, float] = passport.parity
    agreed = f"{parity['inputs']:.0f} inputs agree with torch within {parity['max_abs']:.1e}"
    print(f"{options.out}: {agreed}")


if __name__ == "__main__":
    sys.exit(main())
