"""``livecut.export`` from Python: a file of weights, or a PyTorch module, to every target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import ModelError, UsageError
from . import weights
from .onnx_step import Frames
from .options import Options
from .steps import Made, folder_for, run
from .steps_export import Export
from .steps_plan import plan
from .weights import Source

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1


def describe(
    name: str,
    *,
    sizes_wh: Sequence[tuple[int, int]],
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    color: str = "RGB",
    multiple_of: int = 1,
    fit: str = "letterbox",
    pad_value: Sequence[int] = (114, 114, 114),
    state: Sequence[Mapping[str, Any]] = (),
    version: str = "0",
    licence: str = "unknown",
) -> dict[str, Any]:
    """How a network is fed, as its manifest says: needed for a PyTorch module, which cannot say it itself.

    Parameters
    ----------
    name : str
        Of the model.
    sizes_wh : sequence of (int, int)
        Input sizes (width, height) it was made for, the usual one first.
    mean, std : three floats
        Input = (value in 0..255 - mean) / std, in the order of ``color``.
    color : {"RGB", "BGR"}
    multiple_of : int
        What width and height of an input must be multiples of.
    fit : {"letterbox", "stretch"}
    pad_value : three int
        Around a letterboxed picture, 0..255.
    state : sequence of mappings
        ``{"input": name, "output": name, "shape": [1, 16, "height/4", "width/4"]}`` of each recurrent tensor,
        in the order in which the module takes and gives them after picture and alpha.
    version, licence : str
    """
    return {
        "format": FORMAT,
        "name": name,
        "version": version,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "dtype": "float32",
            "color": color,
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
            "sizes_wh": [list(size) for size in sizes_wh],
            "multiple_of": multiple_of,
            "fit": fit,
            "pad_value": [int(value) for value in pad_value],
        },
        "output": {"name": "alpha", "range": [0, 1]},
        "state": [dict(tensor) for tensor in state],
        "licence": licence,
    }


def open_source(
    path: Path,
    *,
    recipe: str | Path | None = None,
    key: Sequence[int] | None = None,
    checkpoint: Callable[[Path], Source] | None = None,
) -> Source:
    """Weights from a file or a bundle's folder, known by their contents.

    Parameters
    ----------
    path : Path
        ONNX, TorchScript, Keras, safetensors, a checkpoint, or a bundle.
    recipe : str or Path, optional
        How a network from elsewhere is fed; told from the file where it can be.
    key : three int, optional
        The colour, RGB 0..255, over which a generator in a Keras file paints; magenta by default.
    checkpoint : callable, optional
        Makes a source of a checkpoint of livecut's own networks; this package does not know them.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or nothing that can be exported.
    """
    path = Path(path)
    kind = weights.identify(path)
    if kind == "bundle":
        if recipe is not None:
            raise UsageError(f"--recipe: {path} is a livecut model and says itself how it is fed")
        return weights.bundle_source(path)
    if kind in ("safetensors", "checkpoint"):
        if checkpoint is None:
            raise ModelError(
                f"{path}: {weights.KINDS[kind]} without its network; give the module to "
                "livecut.export.module_source"
            )
        return checkpoint(path)
    if kind in ("keras-h5", "keras-zip"):
        from .keras import KEY, keras_source

        return keras_source(path, recipe, key or KEY)
    from .weights_foreign import onnx_source, torchscript_source

    return (torchscript_source if kind == "torchscript" else onnx_source)(path, recipe)


def export_model(
    source: Source | nn.Module | str | Path,
    out: str | Path,
    *,
    options: Options | None = None,
    manifest: Mapping[str, Any] | None = None,
    recipe: str | Path | None = None,
    frames: Frames | None = None,
    frames_key: Mapping[str, Any] | None = None,
    calibrate: Sequence[Path] = (),
    command: str = "livecut.export.export_model",
    progress: Callable[[str, str, float], None] | None = None,
    done: Callable[[Made], None] | None = None,
) -> list[Made]:
    """Export weights into the folder ``out``, which becomes (or stays) a bundle that the engine runs.

    Parameters
    ----------
    source : Source, torch.nn.Module, str or Path
        What to export; a module needs its ``manifest``.
    out : str or Path
        Folder for ``model.onnx``, its manifest, card and ledger, and what is derived from it, each with a
        passport beside it. Files there are replaced one by one, each when the new one is complete.
    options : Options, optional
        Default: ONNX as the source has it.
    manifest : mapping, optional
        From ``describe``, for a module.
    recipe : str or Path, optional
        For a file from elsewhere.
    frames : callable, optional
        Gives real frames for parity, FP16's audit of ranges and INT8's calibration.
    frames_key : mapping, optional
        What identifies those frames: steps that looked at others are made again.
    calibrate : sequence of Path
        The folders of pictures that INT8 is calibrated on.
    progress, done : callable, optional
        Told (step, part, share of it), and each ``Made`` step.

    Returns
    -------
    list of Made
        One for each step; the last is what was asked for.

    Raises
    ------
    LivecutError
        One line; steps before the one that failed stay done.
    """
    options = options or Options()
    opened = _opened(source, manifest, recipe)
    out = Path(out)
    if opened.path is not None and opened.path.resolve().parent == out.resolve():
        raise UsageError(
            f"-o {out}: is where the weights themselves lie; give another folder, so that they stay"
        )
    export = Export(opened, options, out, frames, frames_key or {}, tuple(calibrate), command)
    steps = plan(export)
    with folder_for(out):
        return run(steps, resume=options.resume, progress=progress, done=done)


def _opened(source: Any, manifest: Mapping[str, Any] | None, recipe: str | Path | None) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, Path)):
        return open_source(Path(source), recipe=recipe)
    if manifest is None:
        raise UsageError("manifest: a module does not say how it is fed; give livecut.export.describe(...)")
    return weights.module_source(source, manifest)
