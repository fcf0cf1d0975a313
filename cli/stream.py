"""``livecut stream``: a video, camera or URL in, cut-outs out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..engine.errors import SourceError, UsageError
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
    Post,
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
    from ..engine.pipeline import Pipeline
    from ..engine.stats import Progress, StreamReport
    from .console import Advance


@ends_with_exit_code
def stream(
    source: Annotated[
        str,
        typer.Argument(
            help="Video, camera (0, camera://0), URL, pictures, - for raw frames, or synthetic://WxH@FPS?seconds=N."
        ),
    ],
    sink: Annotated[
        str, typer.Argument(help="Video, picture folder, window://, vcam://, - for raw frames, or null://.")
    ],
    model: Model = DEFAULT_MODEL,
    only_mask: OnlyMask = False,
    bgcolor: Bgcolor = None,
    background: Background = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="wait|drop-oldest",
            help="Every frame, or the newest.",
            show_default="drop-oldest for a live source",
        ),
    ] = "auto",
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="Rate of raw frames, pictures or a camera.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Frame size of raw frames, or asked of a camera.")
    ] = None,
    pixel_format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of raw frames: rgb24, bgr24, rgba, yuv420p, nv12.", show_default="rgb24"
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="png|webp|tiff|jpg", help="Of pictures.", show_default="png")
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=0, max=100, help="Of jpg and webp 1..100; of webm 0..63 and mp4 0..51, lower is better."
        ),
    ] = None,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Keep the sound of a file.")] = True,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="End after so much of the stream.")] = None,
    temporal: Annotated[
        bool, typer.Option("--temporal/--no-temporal", help="Smooth the alpha over time.")
    ] = True,
    json_report: Annotated[
        str | None, typer.Option("--json", metavar="REPORT", help="Write the report there; - for stdout.")
    ] = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    input_size: InputSize = None,
    require_gpu: RequireGpu = False,
    post: Post = "auto",
    no_rebuild: NoRebuild = False,
    plate: Plate = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Cut the product out of every frame of a stream.

    A live source (camera, URL, synthetic camera) never makes its frames wait: the newest wins. A file is
    done whole, in order, with its sound. Ctrl-C ends it; what was written is complete.
    """
    check_background(only_mask, bgcolor, background)
    if "" in (source, sink):
        raise UsageError("SOURCE and SINK: expected names, got an empty one; is a variable not set?")
    size_wh, input_wh = parse_size(size, "--size"), parse_size(input_size, "--input-size")
    from .console import check_writable

    if sink == "-" and json_report == "-":
        raise UsageError("--json -: standard output carries the frames already; give a file")
    check_writable(json_report)
    if require_gpu:
        from ..engine.backends import require_gpu as check_gpu

        check_gpu(backend)
    from ..engine.session import Session
    from ..engine.sinks import open_sink
    from ..engine.sinks.folder import FolderSink
    from ..engine.sources import open_source
    from ..engine.streaming import Limited, check_apart, make_pipeline

    into = open_sink(sink, format=format, quality=quality, keep_audio=audio)
    check_apart(source, into, background=background, plate=plate, report=json_report)
    leave_out = into.folder if isinstance(into, FolderSink) else None
    opened = open_source(source, size_wh=size_wh, fps=fps, pixel_format=pixel_format, leave_out=leave_out)
    if seconds is not None:
        opened = Limited(opened, seconds)
    show = PipelineProgress()
    options = {
        "backend": backend,
        "precision": precision,
        "threads": threads,
        "size_wh": input_wh,
        "on_gpu": require_gpu or None,
        "post": post,
        "rebuild": not no_rebuild,
        "plate": plate,
    }
    with Session(model, temporal=temporal, **options) as session:  # type: ignore[arg-type]
        pipeline = make_pipeline(
            opened,
            into,
            session,
            only_mask=only_mask,
            bgcolor=bgcolor,
            background=background,
            policy=policy,
            on_progress=show,
        )
        report, signals = run_pipeline(pipeline, show, json_report, quiet=quiet)
    if not quiet:
        print(f"livecut: {summary(report)}", file=sys.stderr)
    signals.exit_if_stopped()
    if report.frames_in == 0:
        raise SourceError(f"{source}: no frame came out of it")


def run_pipeline(
    pipeline: Pipeline, show: PipelineProgress, json_report: str | None, *, quiet: bool
) -> tuple[StreamReport, StopSignals]:
    """Run it with a progress bar, stopping on signals; write the report, also of a run that failed."""
    from .console import progress, write_json

    with StopSignals(pipeline.stop) as signals, progress("streaming", quiet=quiet) as advance:
        show.advance = advance
        try:
            report = pipeline.run()
        except BaseException:
            if signals.was_stopped and pipeline.report is None:
                signals.exit_if_stopped()  # stopped before there was anything to report
            if json_report is not None and pipeline.report is not None:
                write_json(pipeline.report.to_json(), json_report)
            raise
    if json_report is not None:
        write_json(report.to_json(), json_report)
    return report, signals


class PipelineProgress:
    """Passes the pipeline's progress on to the bar, once there is one."""

    def __init__(self) -> None:
        self.advance: Advance | None = None

    def __call__(self, progress: Progress) -> None:
        if self.advance is not None:
            fps = progress.frames_out / progress.seconds if progress.seconds > 0 else 0.0
            dropped = f", {progress.dropped} dropped" if progress.dropped else ""
            self.advance(
                progress.frames_out, f"{fps:.1f} fps, {progress.latency_ms:.1f} ms{dropped}", progress.frames
            )


def summary(report: StreamReport) -> str:
    """The report in one line."""
    latency = report.latency_ms
    return (
        f"{report.frames_out} of {report.frames_in} frames, {report.dropped} dropped, {report.fps:.1f} fps, "
        f"latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
