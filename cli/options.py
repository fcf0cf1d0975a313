"""Options that several commands share, each written once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..engine.errors import UsageError

Model = Annotated[str, typer.Option("--model", "-m", help="Name of a model, or the folder of a bundle.")]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend", metavar="NAME", help="auto, tensorrt, onnxruntime-cuda, openvino, onnxruntime or null."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto (the fastest; cut leaves int8 out), fp32, bf16, fp16 or int8.",
        metavar="NAME",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Cores to use.", show_default="those this process may use"),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        "--input-size", metavar="WxH", help="Size the network sees.", show_default="by the picture's aspect"
    ),
]
Plate = Annotated[
    Path | None,
    typer.Option(
        "--plate",
        metavar="PICTURE",
        help="The place without a product, from the same fixed camera, for livecut-plate.",
        show_default=False,
    ),
]
NoRebuild = Annotated[
    bool, typer.Option("--no-rebuild", help="Never build a TensorRT engine; without one, run the ONNX file.")
]
Post = Annotated[
    str,
    typer.Option(
        "--post", metavar="auto|cpu|gpu", help="Where the full-resolution work is done; auto measures both."
    ),
]
RequireGpu = Annotated[
    bool, typer.Option("--require-gpu", help="Fail with exit code 4 rather than run on a CPU.")
]
OnlyMask = Annotated[bool, typer.Option("--only-mask", "-om", help="Write the alpha alone.")]
Bgcolor = Annotated[
    tuple[int, int, int, int] | None,
    typer.Option(
        "--bgcolor", "-bgc", metavar="R G B A", help="Put a colour behind the cut-out, each 0..255."
    ),
]
Background = Annotated[
    str | None,
    typer.Option(
        "--background", metavar="IMAGE|blur", help="Put a picture, or a blur of its own, behind the cut-out."
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Say more; -vv also shows tracebacks."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def parse_size(text: str | None, option: str) -> tuple[int, int] | None:
    """``"1920x1080"`` to ``(1920, 1080)``; UsageError naming ``option`` for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise UsageError(f"{option}: expected WIDTHxHEIGHT, such as 1920x1080, got {text!r}")
    return int(match[1]), int(match[2])


def check_background(
    only_mask: bool, bgcolor: tuple[int, int, int, int] | None, background: str | None
) -> None:
    """UsageError if the options contradict each other, or a colour is out of range."""
    if bgcolor is not None and any(not 0 <= value <= 255 for value in bgcolor):
        raise UsageError(f"--bgcolor: expected four numbers from 0 to 255, got {' '.join(map(str, bgcolor))}")
    given = [
        name for name, value in (("--bgcolor", bgcolor), ("--background", background)) if value is not None
    ]
    if only_mask:
        given.insert(0, "--only-mask")
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: expected only one of them")
