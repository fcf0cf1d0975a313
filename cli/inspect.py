"""``livecut export inspect``: what a derived file is, and whether it still is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.errors import PassportError
from .options import Quiet, Verbose
from .outcome import configure_logging, ends_with_exit_code

if TYPE_CHECKING:
    from rich.console import Console

    from ..engine.artefacts import Examination
    from ..engine.passport import Passport


@ends_with_exit_code
def inspect(
    file: Annotated[
        Path, typer.Argument(help="What an export made, its passport, or a folder of such files.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What it was made from.", show_default="the file of that name beside it"
        ),
    ] = None,
    kinds: Annotated[
        bool,
        typer.Option(
            "--layers", help="What the kinds of layers compute in; of an engine that loads here, every layer."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Print the passport of an exported file, and check the file, its source and this machine against it.

    Exits with 4 where the file or its source is not what the passport was issued for. That an engine is for
    another GPU than this one's is said, and is no error.
    """
    from ..engine.artefacts import examine_artefact, find_artefacts

    configure_logging(verbose=verbose, quiet=quiet)
    found: list[Examination] = []
    broken: list[str] = []
    for path in find_artefacts(file):
        try:
            found.append(examine_artefact(path, source))
        except PassportError as error:
            broken.append(str(error))
    if as_json:
        from .console import write_json

        results = [examination.to_json() for examination in found]
        write_json({"artefacts": results, "without_passport": broken}, "-")
    elif not quiet:
        for examination in found:
            _print(examination, kinds)
    damaged = [problem for examination in found for problem in examination.problems]
    if damaged or broken:
        first, *more = [*broken, *damaged]
        raise PassportError(f"{first}{f' (and {len(more)} more problems)' if more else ''}")


def _print(examination: Examination, kinds: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    passport = examination.passport
    console.print(Text(str(examination.path), "bold"))
    for name, value in _rows(passport, kinds):
        console.print(Text.assemble("   ", (f"{name:<13}", "dim"), value))
    for problem in examination.problems:
        console.print(Text.assemble(("!! ", "red"), (f"{'damaged':<13}", "bold"), problem))
    if not examination.problems:
        console.print(
            Text.assemble(("ok ", "green"), (f"{'sound':<13}", "bold"), ", ".join(examination.checked))
        )
    if passport.target == "tensorrt":
        why = "; ".join(examination.not_here)
        mark, text = (("-- ", "yellow"), f"no: {why}") if why else (("ok ", "green"), "yes, by its passport")
        console.print(Text.assemble(mark, (f"{'usable here':<13}", "bold"), text))
        if kinds and not why and not examination.problems:
            _print_layers(console, examination)


def _print_layers(console: Console, examination: Examination) -> None:
    from rich.text import Text

    from ..engine.artefacts import layers_of

    for layer in layers_of(examination.path, examination.passport):
        console.print(Text.assemble("   ", (f"{layer.precision:<13}", "dim"), f"{layer.kind}  {layer.name}"))


def _rows(passport: Passport, kinds: bool) -> list[tuple[str, str]]:
    found = passport.precision_found
    if found != passport.precision_asked:
        found = f"{found} (asked: {passport.precision_asked})"
    rows = [
        ("target", passport.target),
        ("made from", f"{passport.source}, sha256 {passport.source_sha256[:16]}..."),
        ("made by", f"{passport.library} {passport.library_version}"),
        ("for", _bound_to(passport)),
        ("precision", f"{found}, by the {passport.precision_evidence}"),
        ("layers", _counts(passport.layers)),
        ("kept higher", ", ".join(passport.kept_higher)),
        ("shapes", "; ".join(f"{name} {_shape(shape)}" for name, shape in passport.shapes.items())),
        ("parity", _parity(passport)),
        ("size", f"{passport.size_bytes / 1e6:.2f} MB, sha256 {passport.sha256[:16]}..."),
        ("built", f"{passport.created}, in {passport.build_seconds:.1f} s"),
        ("command", passport.command),
    ]
    if kinds:
        by_kind: dict[str, Any] = passport.extra.get("layers_by_kind", {})
        listed = "; ".join(f"{kind}: {_counts(counts)}" for kind, counts in by_kind.items())
        rows.append(("kinds", listed or "not listed in this passport"))
    return [(name, value) for name, value in rows if value]


def _counts(layers: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in layers.items() if count)


def _parity(passport: Passport) -> str:
    text = ", ".join(f"{name} {value:.3g}" for name, value in passport.parity.items())
    if text and passport.target == "tensorrt":
        text += " (of its ONNX graph, on a CPU; the engine itself only a GPU runs)"
    return text


def _bound_to(passport: Passport) -> str:
    if passport.target != "tensorrt":
        return ""
    driver = f"driver {passport.driver}" if passport.driver else "any driver"
    return f"compute capability {passport.compute_capability}, {driver}"


def _shape(shape: Any) -> str:
    if isinstance(shape, dict):
        low, usual, high = (_shape(shape.get(name, [])) for name in ("min", "opt", "max"))
        return low if low == high else f"{low} to {high}, best at {usual}"
    return "x".join("?" if isinstance(size, str) or size < 0 else str(size) for size in shape)
