"""``livecut cut``: pictures in, cut-outs out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..engine.errors import PartialFailure, SinkError, UsageError
from ..engine.registry import DEFAULT_MODEL
from .options import (
    BackendName,
    Background,
    Bgcolor,
    InputSize,
    Model,
    NoRebuild,
    OnlyMask,
    Plate,
    Precision,
    Quiet,
    RequireGpu,
    Threads,
    Verbose,
    check_background,
    parse_size,
)
from .outcome import StopSignals, ends_with_exit_code

if TYPE_CHECKING:
    from ..engine.cutout import Cutter

Originals = list[tuple[str, str | Path | None]]
"""What is read besides the pictures and must stay: what it is, and its name."""


@ends_with_exit_code
def cut(
    sources: Annotated[
        list[str], typer.Argument(metavar="IN", help="Picture, folder or glob; - for one on stdin.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="Picture, or folder; - for one PNG on stdout.")
    ],
    model: Model = DEFAULT_MODEL,
    only_mask: OnlyMask = False,
    bgcolor: Bgcolor = None,
    background: Background = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut to the product's bounds.")] = False,
    margin: Annotated[
        float, typer.Option(min=0, max=10, help="Room left by --crop, as a share of the longer side.")
    ] = 0.02,
    format: Annotated[
        str | None, typer.Option(metavar="png|webp|tiff|jpg", show_default="by OUT's name; folders: png")
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of jpg, or to make webp lossy.", show_default="jpg: 92"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Replace files that are there, or leave them.")
    ] = True,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    input_size: InputSize = None,
    require_gpu: RequireGpu = False,
    no_rebuild: NoRebuild = False,
    plate: Plate = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Cut the product out of a picture, or out of every picture of a folder.

    A folder keeps its relative paths, with the suffix .png (or --format); a file that fails is named, the
    others go on, and the exit code is 3.
    """
    check_background(only_mask, bgcolor, background)
    if "" in (*sources, target):
        raise UsageError("IN and OUT: expected names, got an empty one; is a variable not set?")
    size_wh = parse_size(input_size, "--input-size")
    suffix = _suffix(format)
    if require_gpu:
        from ..engine.backends import require_gpu as check_gpu

        check_gpu(backend)
    from ..engine.batch import is_many
    from ..engine.cutout import Cutter
    from ..engine.session import Session

    many = len(sources) > 1 or is_many(sources[0])
    if many and (target == "-" or "-" in sources):
        raise UsageError("-: stands for one picture; give a folder for several")
    is_jpeg = (suffix or (".png" if many else Path(target).suffix.lower())) in (".jpg", ".jpeg")
    if is_jpeg and not only_mask and bgcolor is None and background is None:
        bgcolor = (255, 255, 255, 255)
        _say("jpg has no transparency: the background is white", quiet)
    options = {
        "backend": backend,
        "precision": precision,
        "threads": threads,
        "size_wh": size_wh,
        "stills": True,
        "on_gpu": require_gpu or None,
        "rebuild": not no_rebuild,
        "plate": plate,
    }
    kept: Originals = [("background", None if background == "blur" else background), ("clean plate", plate)]
    with Session(model, **options) as session:  # type: ignore[arg-type]
        cutter = Cutter(
            session,
            only_mask=only_mask,
            bgcolor=bgcolor,
            background=background,
            margin=margin if crop else None,
        )
        if many:
            _cut_many(sources, target, cutter, suffix or ".png", quality, overwrite, threads, quiet, kept)
        else:
            _cut_one(sources[0], target, cutter, suffix, quality, overwrite, quiet, kept)


def _suffix(format: str | None) -> str | None:
    from ..engine.pictures import FORMATS

    if format is None:
        return None
    suffix = "." + format.lower().lstrip(".")
    if suffix not in FORMATS:
        raise UsageError(f"--format: expected png, webp, tiff or jpg, got {format!r}")
    return suffix


def _cut_one(
    source: str,
    target: str,
    cutter: Cutter,
    suffix: str | None,
    quality: int | None,
    overwrite: bool,
    quiet: bool,
    kept: Originals,
) -> None:
    from ..engine.originals import keep_originals
    from ..engine.pictures import FORMATS, encode_picture, format_of, read_picture, write_picture
    from ..engine.standard import standard_input, standard_output

    path = Path(target)
    if target == "-":
        format = FORMATS[suffix or ".png"]
    else:
        if path.is_dir() or target.endswith(("/", "\\")):
            path = path / ((Path(source).stem if source != "-" else "picture") + (suffix or ".png"))
        format = FORMATS[suffix] if suffix else format_of(path)
        keep_originals([path], [("input", source if source != "-" else None), *kept])
        if not overwrite and path.exists():
            _say(f"{path}: is there already, left as it is", quiet)
            return
    picture = read_picture(standard_input(), name="standard input") if source == "-" else read_picture(source)
    if picture.frames > 1:
        _say(f"{picture.name}: the first of its {picture.frames} frames", quiet)
    pixels, like = cutter(picture)
    if target != "-":
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{path.parent}: cannot be made: {error.strerror}") from None
        write_picture(path, pixels, like=like, format=format, quality=quality)
        return
    data = encode_picture(pixels, format=format, like=like, quality=quality)
    try:
        stream = standard_output()
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkError(f"standard output: cannot be written: {error.strerror or error}") from None


def _cut_many(
    sources: list[str],
    target: str,
    cutter: Cutter,
    suffix: str,
    quality: int | None,
    overwrite: bool,
    threads: int | None,
    quiet: bool,
    kept: Originals,
) -> None:
    import logging
    import threading

    from ..engine.batch import Item, plan_batch, run_batch
    from ..engine.originals import keep_originals
    from ..engine.pictures import FORMATS
    from ..engine.threads import available_cpus
    from .console import progress

    if Path(target).is_file() or (Path(target).suffix.lower() in FORMATS and not Path(target).is_dir()):
        raise UsageError(f"{target}: is a picture; several pictures need a folder")
    plan = plan_batch(sources, target, suffix=suffix)
    inputs = [("input", item.source) for item in plan.items]
    keep_originals((item.target for item in plan.items), [*inputs, *kept])
    for item in plan.renamed:
        _say(f"{item.source}: shares its name with another picture, goes to {item.target}", quiet)
    log = logging.getLogger("livecut")
    stop = threading.Event()
    count = 0
    started = time.perf_counter()
    workers = min(4, threads or available_cpus())
    with StopSignals(stop.set) as signals, progress("cutting", quiet=quiet) as advance:

        def on_item(item: Item, error: str | None) -> None:
            nonlocal count
            count += 1
            if error is not None:
                log.error(error)
            advance(count, item.source.name, len(plan.items))

        result = run_batch(
            plan.items,
            cutter,
            workers=workers,
            overwrite=overwrite,
            quality=quality,
            stop=stop,
            on_item=on_item,
        )
    parts = [f"{result.done} of {len(plan.items)} pictures cut out in {time.perf_counter() - started:.1f} s"]
    if result.existing:
        parts.append(f"{result.existing} were there already")
    if result.failed:
        parts.append(f"{len(result.failed)} failed")
    _say(", ".join(parts), quiet)
    if result.stopped:
        signals.exit_if_stopped()
    if result.failed:
        names = ", ".join(path.name for path, _ in result.failed[:5])
        more = ", ..." if len(result.failed) > 5 else ""
        raise PartialFailure(f"{len(result.failed)} of {len(plan.items)} pictures failed: {names}{more}")


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(f"livecut: {text}", file=sys.stderr)
