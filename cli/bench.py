"""``livecut bench``: the stream on the synthetic camera, measured."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine.errors import GateMissed, UsageError
from ..engine.registry import DEFAULT_MODEL
from .options import (
    BackendName,
    InputSize,
    Model,
    Precision,
    Quiet,
    RequireGpu,
    Threads,
    Verbose,
    parse_size,
)
from .outcome import ends_with_exit_code


@ends_with_exit_code
def bench(
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the camera's frames.")] = "1920x1080",
    fps: Annotated[
        float, typer.Option(min=0.1, max=1000, help="Rate of the camera, which never waits.")
    ] = 60,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long.")] = 10,
    unpaced: Annotated[
        bool, typer.Option("--unpaced", help="As fast as it goes, instead of at the camera's rate.")
    ] = False,
    output: Annotated[
        str, typer.Option(metavar="FORMAT", help="rgba, bgra, yuva420, alpha: what the sink is given.")
    ] = "rgba",
    model: Model = DEFAULT_MODEL,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    input_size: InputSize = None,
    require_gpu: RequireGpu = False,
    max_p99: Annotated[
        float | None, typer.Option(metavar="MS", help="Exit with 6 if p99 latency is above.")
    ] = None,
    max_dropped: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Exit with 6 if more are dropped.")
    ] = None,
    json_report: Annotated[
        str | None, typer.Option("--json", metavar="REPORT", help="Write the report there; - for stdout.")
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Stream a synthetic camera into nothing, and show rate, latency and stages.

    Latency counts from the moment a frame was due at the camera. What a real camera, decoder or encoder
    costs is not in it.
    """
    width, height = parse_size(size, "--size") or (0, 0)
    input_wh = parse_size(input_size, "--input-size")
    if output.lower() not in ("rgba", "bgra", "yuva420", "alpha"):
        raise UsageError(f"--output: expected rgba, bgra, yuva420 or alpha, got {output!r}")
    if require_gpu:
        from ..engine.doctor import check_gpu

        check_gpu()
    from ..engine.session import Session
    from ..engine.sinks import open_sink
    from ..engine.sources import open_source
    from ..engine.streaming import make_pipeline
    from .report import show_report
    from .stream import PipelineProgress, run_pipeline

    camera = f"synthetic://{width}x{height}@{fps:g}?seconds={seconds:g}&pace={0 if unpaced else 1}"
    bar = PipelineProgress()
    options = {"backend": backend, "precision": precision, "threads": threads, "size_wh": input_wh}
    with Session(model, temporal=True, **options) as session:  # type: ignore[arg-type]
        pipeline = make_pipeline(
            open_source(camera),
            open_sink(f"null://?format={output.lower()}"),
            session,
            only_mask=output.lower() == "alpha",
            on_progress=bar,
        )
        report, signals = run_pipeline(pipeline, bar, json_report, quiet=quiet)
    if json_report != "-" and not quiet:
        show_report(
            report, f"synthetic camera, {width}x{height} at {'full speed' if unpaced else f'{fps:g} fps'}"
        )
    signals.exit_if_stopped()
    missed = []
    if max_p99 is not None and report.latency_ms["p99"] > max_p99:
        missed.append(f"p99 latency {report.latency_ms['p99']:.1f} ms is above {max_p99:g} ms")
    if max_dropped is not None and report.dropped > max_dropped:
        missed.append(f"{report.dropped} frames dropped, {max_dropped} allowed")
    if missed:
        raise GateMissed("; ".join(missed))
