"""The command ``livecut``: its verbs. What they need is imported when one of them runs."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .bench import app as bench
from .cut import cut
from .demo import demo
from .doctor import doctor
from .eval import evaluate
from .export import EPILOG as EXPORT_EPILOG
from .export import ExportCommand, export
from .model import model
from .stream import stream
from .train import train

EXIT_CODES = (
    "Exit codes: 0 done, 1 internal error, 2 usage, 3 some pictures failed, 4 model, engine or device not "
    "available, 5 source or sink, 6 gate missed, 130 and 143 stopped by Ctrl-C and SIGTERM."
)

app = typer.Typer(
    name="livecut",
    help="Cuts the background out of live product pictures, every frame, in real time, on the edge.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help reads well at any width, and starts a third faster
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"livecut {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


app.command(short_help="Cut the product out of pictures.")(cut)
app.command(short_help="Cut it out of every frame of a video, camera or URL.")(stream)
app.command(short_help="Make something to look at, from real photographs.")(demo)
app.add_typer(bench, name="bench", short_help="Measure streams on a synthetic camera; compare two results.")
app.command(short_help="Say what is here, and what would run.")(doctor)
app.command(short_help="Train a network.")(train)
app.command("eval", short_help="Measure models on pictures with known alpha.")(evaluate)
app.command(
    cls=ExportCommand,
    epilog=EXPORT_EPILOG,
    short_help="Export weights to ONNX, FP16, INT8, OpenVINO or TensorRT.",
)(export)
app.add_typer(model, name="model")
# The names rembg gave to the same things.
app.command("i", hidden=True)(cut)
app.command("p", hidden=True)(cut)


def run() -> None:
    """Entry point of the command ``livecut``."""
    app()
