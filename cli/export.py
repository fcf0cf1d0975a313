"""``livecut export``: trained weights to what runs, each step proved."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..engine.errors import UsageError
from .options import Quiet, Verbose, parse_size
from .outcome import ends_with_exit_code

if TYPE_CHECKING:
    from ..export.steps import Made
    from ..export.weights import Source

EPILOG = (
    "livecut export inspect FILE prints the passport of what an export made, and checks the file against it. "
    "Weights: the name of a model or its folder, a checkpoint of livecut train, safetensors, TorchScript, "
    "Keras .h5 or .keras, ONNX."
)


class ExportCommand(TyperCommand):
    """``export WEIGHTS``, but ``export inspect FILE`` is another command; a file so called is ./inspect."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if args[:1] == ["inspect"]:
            return inspect_command().make_context(f"{info_name} inspect", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


def inspect_command() -> Any:
    """``livecut export inspect``."""
    from typer.main import get_command

    from .inspect import inspect

    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.command("inspect")(inspect)
    return get_command(app)


@ends_with_exit_code
def export(
    weights: Annotated[
        str, typer.Argument(help="Weights: a file, or the name of a model.", metavar="WEIGHTS")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="onnx, fp16, int8, openvino or tensorrt.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder to write to; a model the engine runs."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="The one size of the network's input.", show_default="the model's own"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures at once.")] = 1,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Free height, width and (up to --batch) number of pictures.")
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="fp32, fp16 or int8; auto is fp16 for tensorrt, fp32 for openvino."
        ),
    ] = "auto",
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="sm_86,...", help="GPUs to build for.", show_default="the GPU here"),
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(metavar="GIB", help="Memory TensorRT may use to build, such as 4 or 512MiB."),
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Pictures to compare and to calibrate INT8 on; repeatable."),
    ] = None,
    into_bundle: Annotated[
        bool,
        typer.Option(
            "--into-bundle",
            help="With --to int8 or fp16: put the result into the model itself, as a variant.",
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="How a network from elsewhere is fed."),
    ] = None,
    key: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="R G B",
            help="Colour behind the cut-outs that a Keras generator paints.",
            show_default="255 0 255",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Keep a layer in a higher precision; repeatable."),
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Let INT8 of this model be worse than the limits; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Use again what is there and still right.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the passports as JSON.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Export weights to ONNX, FP16, INT8, OpenVINO or TensorRT. Every step is checked and leaves a passport.

    DIR becomes a model of its own, for --model. What is there already and still right is used again; a file
    is replaced only when the new one is complete.
    """
    from ..engine.samples import find_samples
    from ..export.api import export_model
    from ..export.options import Options, parse_devices, parse_workspace
    from .console import write_json
    from .export_progress import StepLines

    options = Options(
        target=to,
        size_wh=parse_size(size, "--size"),
        batch=batch,
        dynamic=dynamic,
        precision=precision,
        devices=parse_devices(device or []),
        workspace_bytes=parse_workspace(workspace),
        keep=tuple(keep or ()),
        force=tuple(force or ()),
        resume=resume,
    )
    command = shlex.join(["livecut", *sys.argv[1:]])
    if into_bundle:
        from .export_variant import put_into_bundle

        passport = put_into_bundle(weights, out, options, calibrate or [], command, quiet=quiet or as_json)
        if as_json:
            write_json(passport.to_json(), "-")
        return
    if key is not None and not all(0 <= value <= 255 for value in key):
        raise UsageError(f"--key: expected three numbers from 0 to 255, got {' '.join(map(str, key))}")
    if out is None:
        raise UsageError("-o: give a folder to write to, such as -o exported/")
    samples = find_samples(calibrate or ())
    source = open_weights(weights, recipe, key)
    with StepLines(quiet=quiet or as_json) as lines:
        made = export_model(
            source,
            out,
            options=options,
            frames=samples,
            frames_key=dict(samples.key),
            calibrate=calibrate or (),
            command=command,
            progress=lines.progress,
            done=lines.done,
        )
    if as_json:
        _print_json(made)


def open_weights(weights: str, recipe: str | None = None, key: tuple[int, int, int] | None = None) -> Source:
    """The source behind a path, or behind the name of a model that is here."""
    from ..export.api import open_source

    path = Path(weights).expanduser()
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        from ..engine.registry import find_bundle

        path = find_bundle(weights)
    return open_source(path, recipe=recipe, key=key, checkpoint=_checkpoint)


def _checkpoint(path: Path) -> Source:
    from ..training.weights import open_checkpoint

    return open_checkpoint(path)


def _print_json(made: list[Made]) -> None:
    from .console import write_json

    write_json(
        {
            "steps": [
                {
                    "step": step.name,
                    "artefact": str(step.artefact),
                    "reused": step.reused,
                    "passport": step.passport.to_json(),
                }
                for step in made
            ]
        },
        "-",
    )
