"""The bundle of a network from elsewhere: its manifest, model card, ledger and passport."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.passport import Passport
from .bundle import MODEL_FILE, write_bundle
from .foreign_graph import ALPHA, IMAGE, Plan

if TYPE_CHECKING:
    import onnx

    from .foreign import ForeignReport


_WEIGHTED = ("Conv", "ConvTranspose", "ConvInteger", "Gemm", "MatMul", "MatMulInteger")
_MOVING = {
    *{"Concat", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu", "Reshape", "Resize", "Slice"},
    *{"Split", "Squeeze", "Transpose", "Unsqueeze"},
}
"""What runtimes compute on bytes where it stands between a DequantizeLinear and a product."""


def card(report: ForeignReport, source: Path) -> str:
    """The model card, Markdown."""
    recipe = report.recipe
    sizes = ", ".join(f"{width}x{height}" for width, height in report.sizes_wh)
    notes = "".join(f"- {note}\n" for note in report.notes) or "- nothing besides\n"
    return f"""# {report.folder.name}

{recipe.title}, imported from `{source.name}` with the recipe `{recipe.name}`
(sha256 `{report.sha256}`). livecut has not trained it, and not measured how well it cuts out.

- **Licence of the weights**: {recipe.licence}. This is what their authors say of the weights they publish;
  look where you have this file from.
- **Source of the recipe**: {recipe.source}
- **Input**: {recipe.color}, (value - mean) / std of values 0..255 with mean {list(recipe.mean)} and
  std {list(recipe.std)}, {recipe.fit}, {"at" if report.fixed else "made for"} {sizes}
- **Output**: {" then ".join(recipe.activation)}{", inverted" if recipe.invert else ""}
- **State**: {", ".join(rule.input for rule in recipe.state) or "none"}
- **Precision of the weights**: {report.precision}; opset {report.opset}

What was done:

{notes}
The wrapped graph was run beside the file in fp32 ({report.runtime}, {int(report.parity["inputs"])} inputs):
the alphas differ by {report.parity["max_abs"]:.1e} at most and {report.parity["mean_abs"]:.1e} on average.
"""


def ledger(report: ForeignReport, source: Path) -> dict[str, Any]:
    """The provenance ledger: for weights from elsewhere, where they came from is all that is known."""
    return {
        "trained_by_livecut": False,
        "source_file": source.name,
        "source_sha256": report.sha256,
        "network": report.recipe.title,
        "licence": report.recipe.licence,
        "training_data": "unknown to livecut: see the network's authors",
    }


def precision_of(model: onnx.ModelProto) -> tuple[str, dict[str, int]]:
    """The precision of most layers that multiply, and how many there are of each.

    A layer is in INT8 where both of what it multiplies is quantised: weights alone that are kept as bytes
    make a smaller file, which computes in float.
    """
    import onnx

    dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}

    def origin(name: str) -> tuple[str, onnx.NodeProto | None]:
        """Where a tensor comes from, and what made it, past what only moves values."""
        while (maker := made.get(name)) is not None and maker.op_type in _MOVING:
            name = maker.input[0]
        return name, maker

    counts: dict[str, int] = {}
    for node in model.graph.node:
        if not node.op_type.endswith(_WEIGHTED):
            continue
        quantised = "Integer" in node.op_type or node.op_type.startswith("QLinear")
        if not quantised:
            found = [origin(name) for name in node.input[:2]]
            quantised = all(maker and maker.op_type == "DequantizeLinear" for _, maker in found)
            weight, maker = found[1]
            if maker is not None and maker.op_type == "DequantizeLinear":
                weight = maker.input[1]  # it gives floats of its scale's type
        half = not quantised and dtypes.get(weight) == onnx.TensorProto.FLOAT16
        kind = "int8" if quantised else "fp16" if half else "fp32"
        counts[kind] = counts.get(kind, 0) + 1
    return max(counts, key=lambda kind: counts[kind], default="fp32"), counts


def write_foreign(
    wrapped: onnx.ModelProto,
    plan: Plan,
    report: ForeignReport,
    source: Path,
    layers: dict[str, int],
    command: str,
) -> None:
    import onnx

    folder, recipe = report.folder, report.recipe
    origin = {"recipe": recipe.name, "source": source.name, "sha256": report.sha256}
    onnx.helper.set_model_props(wrapped, origin)
    manifest = manifest_of(report, plan)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
        made = Path(work) / MODEL_FILE
        onnx.save(wrapped, str(made))
        words, origins = card(report, source), ledger(report, source)
        write_bundle(folder, model=made, manifest=manifest, card=words, ledger=origins)
    width, height = plan.size_wh
    sides = [height, width] if plan.fixed else ["height", "width"]
    passport = Passport.issue(
        folder / MODEL_FILE,
        source,
        target="onnx",
        library="onnx",
        library_version=onnx.__version__,
        precision_asked="as it is",
        precision_found=report.precision,
        precision_evidence="graph",
        shapes={IMAGE: [1, 3, *sides], ALPHA: [1, 1, *sides], **{k: list(v) for k, v in plan.states.items()}},
        parity={key: value for key, value in report.parity.items() if key != "inputs"},
        layers=layers,
        build_seconds=report.seconds,
        command=command,
        extra={"recipe": recipe.name, "ran_on": report.runtime},
    )
    passport.write(folder / MODEL_FILE)


def manifest_of(report: ForeignReport, plan: Plan) -> dict[str, Any]:
    """The bundle's manifest, without ``file`` and ``sha256``."""
    recipe = report.recipe
    states = [
        {"input": name, "output": plan.feed.states[name][0], "shape": list(shape)}
        for name, shape in plan.states.items()
    ]
    return {
        "format": 1,
        "name": report.folder.name,
        "version": "1.0.0",
        "input": {
            "name": IMAGE,
            "layout": "NCHW",
            "dtype": "float32",
            "color": recipe.color,
            "mean": list(recipe.mean),
            "std": list(recipe.std),
            "sizes_wh": [list(size) for size in report.sizes_wh],
            "multiple_of": 1 if report.fixed else recipe.multiple_of,
            "fit": recipe.fit,
            "pad_value": list(recipe.pad_value),
        },
        "output": {"name": ALPHA, "range": [0, 1]},
        "state": states,
        "licence": recipe.licence,
        "ledger": "LEDGER.json",
        "opset": report.opset,
        "recipe": recipe.name,
        "imported_sha256": report.sha256,
    }
