"""``livecut demo``: something to look at within minutes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..engine.errors import PartialFailure, SinkError
from ..engine.registry import DEFAULT_MODEL
from .options import BackendName, Model, Precision, Quiet, Threads, Verbose
from .outcome import ends_with_exit_code

if TYPE_CHECKING:
    from ..engine.contact_sheet import Row
    from ..engine.session import Session


@ends_with_exit_code
def demo(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="A picture, folder, video, camera or URL.",
            show_default="photographs of scikit-image and a synthetic camera",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("out"),
    seconds: Annotated[float, typer.Option(min=0.1, help="How much of a stream.")] = 10,
    model: Model = DEFAULT_MODEL,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Cut out photographs and a stream into a folder, with a contact sheet, and show what it took."""
    from ..engine.batch import plan_batch
    from ..engine.demo import CAMERA, is_stream, photographs, write_sheet
    from ..engine.originals import keep_originals
    from ..engine.session import Session

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{out}: cannot be made: {error.strerror}") from None
    stream = CAMERA.format(seconds=seconds) if source is None else source if is_stream(source) else None
    if source is None:
        pictures = list(photographs().items())
        if not pictures:
            print("livecut: no photographs: pip install livecut[demo] brings some", file=sys.stderr)
    elif stream is None:
        plan = plan_batch([source], out)
        keep_originals((item.target for item in plan.items), [("input", item.source) for item in plan.items])
        pictures = [(str(item.target.relative_to(out).with_suffix("")), item.source) for item in plan.items]
    else:
        pictures = []
    rows: list[Row] = []
    failed: list[str] = []
    with Session(model, backend=backend, precision=precision, threads=threads) as session:
        if pictures:
            rows, failed = _pictures(pictures, out, session)
    if stream is not None:
        with Session(model, backend=backend, precision=precision, threads=threads, temporal=True) as session:
            rows += _stream(stream, out, session, seconds, quiet)
    if rows:
        write_sheet(out / "contact-sheet.png", rows[:12])
        print(f"Look at {out / 'contact-sheet.png'}; everything is in {out}/")
    if failed:
        for line in failed:
            print(f"livecut: error: {line}", file=sys.stderr)
        raise PartialFailure(f"{len(failed)} of {len(pictures)} pictures failed")


def _pictures(pictures: list[tuple[str, Path]], out: Path, session: Session) -> tuple[list[Row], list[str]]:
    from ..engine.demo import cut_pictures
    from .console import new_table, show

    table = new_table("picture", "size", "cut out in", "written to")

    def on_picture(name: str, size_wh: tuple[int, int], seconds: float) -> None:
        table.add_row(name, f"{size_wh[0]}x{size_wh[1]}", f"{seconds * 1e3:.1f} ms", str(out / f"{name}.png"))

    rows, failed = cut_pictures(pictures, out, session, on_picture)
    if rows:
        show(table)
    return rows, failed


def _stream(uri: str, out: Path, session: Session, seconds: float, quiet: bool) -> list[Row]:
    from ..engine.compositor import choose_output
    from ..engine.demo import SampledCompositor, stream_rows
    from ..engine.pipeline import Pipeline
    from ..engine.sinks import open_sink
    from ..engine.sources import open_source
    from ..engine.streaming import Limited, check_apart
    from .report import show_report
    from .stream import PipelineProgress, run_pipeline

    video = out / "stream.webm"
    sink = open_sink(str(video))
    check_apart(uri, sink)
    compositor = SampledCompositor(choose_output(sink.accepts))
    bar = PipelineProgress()
    source = Limited(open_source(uri), seconds)
    pipeline = Pipeline(source, session, compositor, sink, on_progress=bar)
    report, signals = run_pipeline(pipeline, bar, str(out / "report.json"), quiet=quiet)
    show_report(report, f"{uri} -> {video}")
    signals.exit_if_stopped()
    return stream_rows(compositor.samples, video)
