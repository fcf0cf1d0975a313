"""``livecut train``: a network from data, in a run that can be stopped and taken up again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.errors import DeviceUnavailable, LivecutError, SourceError, UsageError
from .options import Quiet, Verbose
from .outcome import INTERRUPTED, TERMINATED, ends_with_exit_code

if TYPE_CHECKING:
    from ..training.train import Progress as Step
    from ..training.train import Trainer

Data = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="The data folder; see training/README.md.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="FOLDER", help="Where decoded pictures are kept.", show_default="OUT/cache"
    ),
]


@ends_with_exit_code
def train(
    config: Annotated[
        str, typer.Option("--config", metavar="NAME", help="Name of a configuration, or a .toml file.")
    ] = "livecut-s",
    data: Data = Path("../shared/data"),
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="The run's folder.", show_default="runs/CONFIG"),
    ] = None,
    cache: Cache = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.01, help="Wall clock of the whole run.", show_default="the configuration's"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="RUN|MODEL",
            help="Start from other weights: a run's folder, a checkpoint, or a model.",
            show_default="the configuration's",
        ),
    ] = None,
    halfway_to: Annotated[
        Path | None,
        typer.Option(
            "--halfway-to",
            metavar="RUN|MODEL",
            help="Start from the mean of the weights of --init and of these: of what that run went on from.",
        ),
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Processes that make pictures.",
            show_default="by configuration and device",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Of the CPU, for the network.", show_default="the configuration's"
        ),
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train a network.

    OUT then holds checkpoint.pt, log.txt, curve.csv, curve.png and samples-*.png. Ctrl-C or SIGTERM finishes
    the step, saves and stops; --resume goes on. The learning rate follows the clock.
    """
    with training_errors():
        from ..training.config import CHECKPOINT, adjusted, load_config
        from ..training.device import choose_device, default_workers
        from ..training.train import Trainer

        settings, where = load_config(config), choose_device(device)
        makers = default_workers(where, settings.run.workers) if workers is None else workers
        settings = adjusted(settings, minutes=minutes, workers=makers, threads=threads)
        folder = out or Path("runs") / Path(config).stem
        if not resume and (folder / CHECKPOINT).exists():
            raise UsageError(
                f"{folder} holds a run already: add --resume to go on with it, or choose another --out"
            )
        start = init or (Path(settings.initial) if settings.initial else None)
        if halfway_to is not None and start is None:
            raise UsageError("--halfway-to is the other of two: give the first with --init")
        with _bar(settings.name, quiet=quiet) as (say, on_step):
            trainer = Trainer(
                settings, data, folder, cache or folder / "cache", device=where, say=say, on_step=on_step
            )
            if resume:
                trainer.resume()
            elif start is not None:
                trainer.start_from(start, halfway_to)
            with _stopping(trainer) as stopped:
                trainer.run()
    if stopped:
        raise typer.Exit(stopped[0])
    if not quiet:
        from ..training.data.catalogue import is_training_data

        option = "" if is_training_data(data) else " --held-out"
        typer.echo(f"{folder}: trained; measure it with: livecut eval {folder} {data}{option}", err=True)


@contextmanager
def training_errors() -> Iterator[None]:
    """Give what the training room raises the exit code of its kind; say how to get PyTorch where it lacks."""
    try:
        yield
    except LivecutError:
        raise
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("torch", "tomli"):
            raise
        raise DeviceUnavailable(
            f"this needs the package {error.name}, which is not installed: pip install 'livecut[train]'"
        ) from error
    except OSError as error:
        named = error.filename is not None and error.strerror
        raise SourceError(f"{error.filename}: {error.strerror}" if named else str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


@contextmanager
def _stopping(trainer: Trainer) -> Iterator[list[int]]:
    """While open, Ctrl-C and SIGTERM let the step end and the run be saved; a second one ends at once.

    Yields a list that then holds the exit code.
    """
    codes: list[int] = []

    def stop(number: int, _frame: object) -> None:
        code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        if codes:
            os._exit(code)
        codes.append(code)
        trainer.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield codes
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _bar(title: str, *, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Step], None] | None]]:
    """How to show a line of the log and a step: both beside a bar on a terminal, lines alone elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True)), None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[Any] = [
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    ]  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(title, total=None, text="reading pictures")

        def on_step(step: Step) -> None:
            best = "  ".join(f"{name} {value:.4f}" for name, value in step.validation.items())
            text = f"step {step.step}  {step.pictures} pictures  loss {step.total:.3f}  {best}"
            bars.update(task, completed=step.elapsed_s, total=step.total_s, text=text)

        yield (lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)), on_step
