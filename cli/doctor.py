"""``livecut doctor``: what is here, and what would run."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine.errors import LivecutError
from ..engine.registry import DEFAULT_MODEL
from .options import BackendName, Model, Precision, Quiet, RequireGpu, Verbose
from .outcome import configure_logging, ends_with_exit_code

_MARKS = {"ok": ("ok", "green"), "absent": ("--", "yellow"), "bad": ("!!", "red")}


@ends_with_exit_code
def doctor(
    model: Model = DEFAULT_MODEL,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    require_gpu: RequireGpu = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, what would run and why, one line each.

    Exits with 4 where the model, backend, precision or GPU asked for is not to be had.
    """
    from ..engine.backends import require_gpu as check_gpu
    from ..engine.doctor import examine

    configure_logging(verbose=verbose, quiet=not verbose)  # the last line says what the log would
    findings = examine(model, backend, precision)
    failure: LivecutError | None = None
    if require_gpu:
        try:
            check_gpu(backend)
        except LivecutError as error:
            failure = error
    would_run = findings[-1]
    if as_json:
        from .console import write_json

        write_json({"findings": [finding.to_json() for finding in findings]}, "-")
    elif not quiet:
        from rich.console import Console
        from rich.text import Text

        width = max(len(finding.name) for finding in findings) + 2
        console = Console(soft_wrap=True, highlight=False)
        for finding in findings:
            mark, style = _MARKS[finding.status]
            console.print(
                Text.assemble((mark, style), " ", (f"{finding.name:<{width}}", "bold"), finding.text)
            )
    if failure is not None:
        raise failure
    if would_run.status == "bad":
        unable = LivecutError(would_run.text)
        unable.exit_code = would_run.data["exit_code"]
        raise unable
