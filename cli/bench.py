"""``livecut bench``: streams on a synthetic camera, measured; ``livecut bench compare`` tells two apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.errors import GateMissed, LivecutError, PartialFailure, SinkError, UsageError
from ..engine.registry import DEFAULT_MODEL
from .options import (
    BackendName,
    InputSize,
    Model,
    NoRebuild,
    Post,
    Precision,
    Quiet,
    RequireGpu,
    Threads,
    Verbose,
    parse_size,
)
from .outcome import StopSignals, ends_with_exit_code, said_once

if TYPE_CHECKING:
    from ..engine.bench.figures import Figures
    from ..engine.bench.sensors import Sensor
    from ..engine.bench.settings import Settings

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
SOAK_WARM_UP_SECONDS = 30.0


@app.callback()
@ends_with_exit_code
def bench(
    context: typer.Context,
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the camera's frames.")] = "1920x1080",
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=1000,
            help="Rate of the camera, which never waits.",
            show_default="60; 30 with --find-streams",
        ),
    ] = None,
    seconds: Annotated[
        str, typer.Option(metavar="TIME", help="Length of the steady state: 10, 90s, 5m.")
    ] = "10",
    warm_up: Annotated[
        str, typer.Option(metavar="TIME", help="Of the stream before that, told apart; 0 for none.")
    ] = "2",
    soak: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A long run, such as 30m: drift, heat and memory's slope."),
    ] = None,
    unpaced: Annotated[
        bool, typer.Option("--unpaced", help="As fast as it goes, instead of at the camera's rate.")
    ] = False,
    streams: Annotated[int, typer.Option(min=1, max=256, help="So many at the same time.")] = 1,
    share: Annotated[
        bool, typer.Option("--share", help="One engine for all streams, their frames queued together.")
    ] = False,
    batching: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="With --share, several streams' frames in one inference: auto (on a GPU), always, never.",
        ),
    ] = "auto",
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS[=A,B]",
            help="Several runs: model, size, input-size, precision, backend, threads, streams, batching.",
        ),
    ] = None,
    find_streams: Annotated[
        bool, typer.Option("--find-streams", help="Search how many streams hold the rate within --p99.")
    ] = False,
    p99: Annotated[
        float, typer.Option(min=0.1, metavar="MS", help="Latency bound of --find-streams and --share.")
    ] = 33.0,
    most_streams: Annotated[int, typer.Option(min=1, max=256, help="Where --find-streams stops.")] = 64,
    output: Annotated[
        str, typer.Option(metavar="FORMAT", help="rgba, bgra, yuva420, alpha: what the sink is given.")
    ] = "rgba",
    model: Model = DEFAULT_MODEL,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    input_size: InputSize = None,
    temporal: Annotated[
        bool, typer.Option("--temporal/--no-temporal", help="Smooth the alpha over time.")
    ] = True,
    require_gpu: RequireGpu = False,
    no_rebuild: NoRebuild = False,
    post: Post = "auto",
    cold_start: Annotated[
        bool,
        typer.Option("--cold-start/--no-cold-start", help="Also time a fresh process to its first frame."),
    ] = True,
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Look at idle power so long, where it can be read; 0 for not.")
    ] = "3",
    max_p99: Annotated[
        float | None, typer.Option(metavar="MS", help="Exit with 6 if p99 latency is above.")
    ] = None,
    max_dropped: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Exit with 6 if more are dropped.")
    ] = None,
    min_streams: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Exit with 6 if --find-streams finds fewer.")
    ] = None,
    json_report: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the result there; - for stdout.")
    ] = None,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write it as one page with plots.")] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Stream a synthetic camera into nothing, and show rate, latency, energy and what came out.

    Latency counts from the moment a frame was due at the camera. Some outputs are compared with an offline
    run of the same frames: exit code 6 if one differs. What a real camera, decoder or encoder costs is not in
    it.
    """
    if context.invoked_subcommand is not None:
        return
    if require_gpu:
        from ..engine.backends import require_gpu as check_gpu

        check_gpu(backend)
    from ..engine.bench.settings import Settings, expand, parse_duration, parse_sweep

    lasting = parse_duration(soak or seconds, "--soak" if soak else "--seconds")
    before = parse_duration(warm_up, "--warm-up", zero=True)
    base = Settings(
        model=model,
        size_wh=parse_size(size, "--size") or (0, 0),
        fps=fps or (30.0 if find_streams else 60.0),
        seconds=lasting,
        warm_up_seconds=max(before, SOAK_WARM_UP_SECONDS) if soak else before,
        paced=not unpaced,
        output=output.upper(),
        backend=backend,
        precision=precision,
        threads=threads,
        input_size_wh=parse_size(input_size, "--input-size"),
        streams=streams,
        shared=share,
        batching=batching,
        bound_ms=p99,
        temporal=temporal,
        require_gpu=require_gpu,
        rebuild=not no_rebuild,
        post=post,
    )
    if find_streams and (sweep or unpaced or streams != 1):
        raise UsageError(
            "--find-streams: chooses the number of streams itself; drop --sweep, --unpaced, --streams"
        )
    if min_streams is not None and not find_streams:
        raise UsageError("--min-streams: needs --find-streams")
    from .console import check_writable

    check_writable(json_report, html)
    runs = expand(base, parse_sweep(sweep, base)) if sweep else [base]
    work = _Work(quiet=quiet, idle_seconds=parse_duration(idle, "--idle", zero=True))
    with StopSignals(work.stop) as signals, said_once():
        if find_streams:
            work.search(base, p99, most_streams)
        else:
            work.measure(runs)
        if cold_start and not work.stopped:  # last: by now a TensorRT engine that was missing is there
            work.time_cold_start(base, signals)
    data = work.result()
    _write(data, json_report, html)
    if json_report != "-" and not quiet:
        from .bench_report import show_result

        show_result(data)
    signals.exit_if_stopped()
    _judge(data, work.failures, max_p99, max_dropped, min_streams)


class _Work:
    """Does the runs one after the other, and can be stopped in the middle of one."""

    def __init__(self, *, quiet: bool, idle_seconds: float) -> None:
        from ..engine.bench.sensors import open_sensors

        self.quiet = quiet
        self.sensors: list[Sensor]
        self.sensors, self.not_readable = open_sensors()
        self.figures: list[Figures] = []
        self.failures: dict[str, LivecutError] = {}
        self.cold: dict[str, Any] | None = None
        self.found: dict[str, Any] | None = None
        self.stopped = False
        self._run: Any = None
        from ..engine.bench.energy import idle_power

        self.idle = idle_power(self.sensors, idle_seconds)

    def stop(self) -> None:
        self.stopped = True
        if self._run is not None:
            self._run.stop()

    def time_cold_start(self, settings: Settings, signals: StopSignals) -> None:
        """A signal reaches that process too; then there is no figure, and no error either."""
        from ..engine.bench import cold

        try:
            self.cold = cold.measure(settings)
        except LivecutError:
            if not signals.was_stopped:
                raise

    def run(self, settings: Settings, title: str) -> Figures:
        """One run, with a bar."""
        from ..engine.bench.run import Run
        from .console import progress
        from .stream import PipelineProgress

        show = PipelineProgress()
        self._run = Run(settings, sensors=self.sensors, on_progress=show)
        if self.stopped:
            self._run.stop()
        with progress(title, quiet=self.quiet) as advance:
            show.advance = advance
            figures = self._run.measure()
        figures.count_idle(self.idle)
        return figures

    def measure(self, runs: list[Settings]) -> None:
        """Every run; one that cannot be had is told at the end, unless it is the only one."""
        from ..engine.bench.settings import differences

        for number, (settings, name) in enumerate(zip(runs, differences(runs), strict=True), start=1):
            if self.stopped:
                return
            try:
                title = f"run {number} of {len(runs)}" if len(runs) > 1 else "streaming"
                self.figures.append(self.run(settings, title))
            except LivecutError as error:
                if len(runs) == 1:
                    raise
                self.failures[name] = error

    def search(self, base: Settings, p99_ms: float, most: int) -> None:
        """Find how many streams hold; their runs are the result's runs."""
        from dataclasses import replace

        from ..engine.bench.search import Trial, find_streams, judge_trial

        def attempt(streams: int) -> Trial:
            if self.stopped:
                return Trial(streams, False, None, None, None, "stopped")
            figures = self.run(replace(base, streams=streams), f"{streams} streams")
            self.figures.append(figures)
            return judge_trial(streams, figures, p99_ms)

        answer, trials = find_streams(attempt, most)
        self.found = {
            "fps": base.fps,
            "p99_ms": p99_ms,
            "answer": answer,
            "most": most,
            "trials": [trial.to_json() for trial in trials],
        }

    def result(self) -> dict[str, Any]:
        from ..engine.bench import machine, results

        for sensor in self.sensors:
            sensor.close()
        return results.report(
            self.figures,
            machine.describe(),
            not_readable=self.not_readable,
            idle=self.idle,
            cold_start=self.cold,
            search=self.found,
            not_run={name: str(error) for name, error in self.failures.items()},
        )


def _write(data: dict[str, Any], json_report: str | None, html: str | None) -> None:
    from ..engine.bench import results

    try:
        if json_report == "-":
            typer.echo(results.to_text(data))
        elif json_report is not None:
            results.write(json_report, data)
        if html is not None:
            from ..engine.bench.page import write_page

            write_page(html, data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkError(f"the result cannot be written: {error.strerror or error}") from error


def _judge(
    data: dict[str, Any],
    failures: dict[str, LivecutError],
    max_p99: float | None,
    max_dropped: int | None,
    min_streams: int | None,
) -> None:
    """Raise GateMissed for wrong outputs and missed limits, PartialFailure for runs that could not be had."""
    missed = []
    for run in data["runs"]:
        where = f"{run['name']}: " if len(data["runs"]) > 1 else ""
        p99, dropped = run["latency_ms"]["p99"], run["frames"]["dropped"]
        if not run["gate"]["passed"]:
            from .bench_report import gate_text

            missed.append(f"{where}outputs: {gate_text(run['gate'])}")
        if max_p99 is not None and p99 > max_p99:
            missed.append(f"{where}p99 latency {p99:.1f} ms is above {max_p99:g} ms")
        if max_dropped is not None and dropped > max_dropped:
            missed.append(f"{where}{dropped} frames dropped, {max_dropped} allowed")
    if min_streams is not None and data["search"]["answer"] < min_streams:
        missed.append(f"{data['search']['answer']} streams hold, {min_streams} wanted")
    if missed:
        raise GateMissed("; ".join(missed))
    if failures and not data["runs"]:
        raise next(iter(failures.values()))
    if failures:
        raise PartialFailure(f"{len(failures)} of {len(failures) + len(data['runs'])} runs could not be had")


@app.command()
@ends_with_exit_code
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE.json")],
    after: Annotated[Path, typer.Argument(metavar="AFTER.json")],
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 6 if anything is slower.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Say of two results what is faster, slower, or not significantly different."""
    from ..engine.bench.compare import SLOWER
    from ..engine.bench.compare import compare as compare_results
    from ..engine.bench.results import read
    from .console import new_table, show

    changes, cautions = compare_results(read(before), read(after))
    if not quiet:
        for caution in cautions:
            typer.echo(f"caution: {caution}")
        if not changes:
            typer.echo("the two files have no run in common")
        else:
            table = new_table("run", "", "before", "after", "ratio", "95 % interval", "verdict")
            for change in changes:
                ratio = change.ratio
                table.add_row(
                    change.run,
                    change.figure,
                    f"{change.before:.2f}",
                    f"{change.after:.2f}",
                    f"{ratio.value:.2f}x",
                    f"{ratio.low:.2f} to {ratio.high:.2f}",
                    change.verdict,
                )
            show(table)
    slower = [change for change in changes if change.verdict == SLOWER]
    if gate and slower:
        raise GateMissed(f"slower: {', '.join(f'{change.run}, {change.figure}' for change in slower)}")
