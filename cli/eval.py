"""``livecut eval``: models on pictures and clips with known alpha, measured and set side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.errors import PartialFailure, SourceError, UsageError
from .judged import is_loose, open_judged
from .options import BackendName, Precision, Quiet, Threads, Verbose
from .outcome import ends_with_exit_code
from .train import Device, training_errors

if TYPE_CHECKING:
    from ..training.evaluate import Evaluation, Summary

COMPARED = ("mae", "mse", "sad", "grad", "conn", "iou", "max_f", "s_measure", "boundary_f", "dtssd")


@ends_with_exit_code
def evaluate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="Models, each a name, the folder of a bundle or of a run, an .onnx file or a checkpoint; "
            "then the folder to measure on.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the reports go.")] = Path(
        "runs/evaluation"
    ),
    through: Annotated[
        str,
        typer.Option(
            "--through",
            metavar="engine|network|auto",
            help="The engine with its refinement, or the bare network; auto: the engine if all are bundles.",
        ),
    ] = "auto",
    sheets: Annotated[
        Path | None,
        typer.Option(
            "--sheets",
            metavar="FOLDER",
            help="Measure nothing: draw the cut-outs of all pictures of DATA, masks or not, on sheets there.",
        ),
    ] = None,
    frame_by_frame: Annotated[
        bool,
        typer.Option("--frame-by-frame", help="Forget between the frames of a clip: what memory is worth."),
    ] = False,
    held_out: Annotated[
        bool,
        typer.Option("--held-out", help="Of any folder, too, only the tenth that training on it leaves out."),
    ] = False,
    worst: Annotated[int, typer.Option("--worst", min=0, help="Pictures to show, the worst first.")] = 20,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    json_report: Annotated[
        str | None,
        typer.Option("--json", metavar="REPORT", help="Also write the report there; - for stdout."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", metavar="FOLDER", help="Where decoded pictures are kept.", show_default="OUT/cache"
        ),
    ] = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    device: Device = "auto",
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Measure models on pictures with known alpha.

    DATA is a training data folder, of which the held-out pairs count, or any folder of images/NAME.* with
    masks/NAME.*, NAME.* with NAME_mask.*, or NAME.jpg with NAME.png; a folder below clips/ is a clip, for
    dtSSD. OUT holds evaluation.json and evaluation.html; for several models a folder of each, and the
    comparison.

    With --sheets, DATA is any folder of pictures and nothing is measured: FOLDER gets sheet-001.png, ...,
    with 24 cut-outs over magenta each, beside the pictures and over their names.
    """
    if len(paths) < 2:
        raise UsageError("eval: expected MODEL... DATA, got one argument; which folder is it to measure on?")
    from .console import check_writable

    check_writable(json_report)
    if through not in ("auto", "engine", "network"):
        raise UsageError(f"--through: expected engine, network or auto, got {through!r}")
    if through == "network" and (backend, precision) != ("auto", "auto"):
        raise UsageError("--backend and --precision are of the engine; leave them out with --through network")
    models, data = paths[:-1], Path(paths[-1])
    if sheets is not None:
        if len(models) > 1:
            raise UsageError(f"--sheets: expected one MODEL and DATA, got {len(models)} models")
        from .sheets import draw_sheets

        options = {"backend": backend, "precision": precision, "threads": threads}
        with training_errors():
            draw_sheets(
                models[0], paths[-1], sheets, through=through, device=device, options=options, quiet=quiet
            )
        return
    if through == "auto" and len(models) > 1 and any(map(is_loose, models)):
        through = "network"  # all alike, or the comparison would be of the refinement
    with training_errors():
        from ..training.evaluate import markdown as as_markdown

        options = {"backend": backend, "precision": precision, "threads": threads}
        evaluations: dict[str, Evaluation] = {}
        for model in models:
            done = _measure(
                model, data, cache or out / "cache", through, device, options,
                worst=worst, frame_by_frame=frame_by_frame, held_out=held_out, quiet=quiet,
            )  # fmt: skip
            name = _unique(str(done.model["name"]), evaluations)
            evaluations[name] = done
            _write(done, out / name if len(models) > 1 else out)
        rows = _compare(evaluations, out) if len(models) > 1 else next(iter(evaluations.values())).summary
        corner = "model" if len(models) > 1 else "data"
        if markdown:
            typer.echo(as_markdown(rows, corner))
        elif json_report != "-" and not quiet:
            _show(rows, corner)
        if json_report is not None:
            from .console import write_json

            reports = [evaluation.as_json() for evaluation in evaluations.values()]
            write_json(
                reports[0] if len(reports) == 1 else {"comparison": rows, "models": reports}, json_report
            )
    if not quiet:
        typer.echo(f"report: {out / 'evaluation.html'}", err=True)
    if skipped := next(iter(evaluations.values())).skipped:
        for line in skipped:
            typer.echo(f"livecut: left out: {line}", err=True)
        measured = len(next(iter(evaluations.values())).pictures)
        raise PartialFailure(f"{data}: {len(skipped)} pictures left out, {measured} measured")


def _measure(
    model: str,
    data: Path,
    cache: Path,
    through: str,
    device: str,
    options: dict[str, Any],
    *,
    worst: int,
    frame_by_frame: bool,
    held_out: bool,
    quiet: bool,
) -> Evaluation:
    """One model on all of the data."""
    from ..training.evaluate import evaluate
    from ..training.pairs import open_samples
    from .console import progress

    with (
        open_judged(model, through, device, options) as judged,
        progress(judged.facts["name"], quiet=quiet) as bar,
    ):
        samples = open_samples(data, cache, plates=judged.predict.begins_with_plate, held_out=held_out)
        done = evaluate(
            judged.predict,
            samples,
            worst=worst,
            frame_by_frame=frame_by_frame,
            on_picture=lambda count, name: bar(count, name, len(samples)),
        )
        done.model, done.data = judged.facts, str(data)
        if frame_by_frame:
            done.model["through"] += ", frame by frame"
    if not done.pictures:
        raise SourceError(
            f"{data}: none of {len(samples)} pictures can be used; the first: {done.skipped[0]}"
        )
    return done


def _write(done: Evaluation, folder: Path) -> None:
    from ..engine.pictures import write_atomically
    from ..training.page import write_page

    folder.mkdir(parents=True, exist_ok=True)
    report = json.dumps(done.as_json(), indent=1) + "\n"
    write_atomically(folder / "evaluation.json", report.encode())
    write_atomically(folder / "evaluation.html", write_page(done).encode())


def _compare(evaluations: dict[str, Evaluation], out: Path) -> Summary:
    """One row for each model; written beside the folders of each."""
    from ..engine.pictures import write_atomically
    from ..training.page import write_comparison

    rows: Summary = {}
    for name, done in evaluations.items():
        means = done.summary["all"]
        costs = {key: done.model[key] for key in ("mparams", "gmac") if done.model.get(key) is not None}
        rows[name] = {**costs, **{metric: means[metric] for metric in COMPARED if metric in means}}
    links = [f"{name}/evaluation.html" for name in evaluations]
    page = write_comparison(list(evaluations.values()), rows, links)
    write_atomically(out / "evaluation.html", page.encode())
    write_atomically(out / "evaluation.json", (json.dumps({"comparison": rows}, indent=1) + "\n").encode())
    return rows


def _show(rows: Summary, corner: str) -> None:
    from ..training.evaluate import shown, title
    from .console import new_table, show

    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    table = new_table(corner, *(title(name) for name in names))
    for row, values in rows.items():
        table.add_row(row, *(shown(name, values[name]) if name in values else "" for name in names))
    show(table)


def _unique(name: str, taken: dict[str, Any]) -> str:
    """``name``, or with a number where two models have the same."""
    count = 2
    unique = name
    while unique in taken:
        unique, count = f"{name}-{count}", count + 1
    return unique
