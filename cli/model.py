"""``livecut model``: what can be named with ``--model``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .outcome import ends_with_exit_code

model = typer.Typer(help="Show the models that are here.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@model.command("list")
@ends_with_exit_code
def list_models(as_json: AsJson = False) -> None:
    """List every model with its licence and size."""
    from ..engine.registry import available_models
    from .console import new_table, show, write_json

    rows = [_describe(name) for name in available_models()]
    if as_json:
        write_json(rows, "-")
        return
    table = new_table("model", "version", "licence", "size", "input sizes")
    for row in rows:
        sizes = " ".join(f"{width}x{height}" for width, height in row["sizes_wh"])
        table.add_row(row["name"], row["version"], row["licence"], f"{row['bytes'] / 1e6:.1f} MB", sizes)
    show(table)


@model.command("info")
@ends_with_exit_code
def info(
    name: Annotated[str, typer.Argument(help="Name of a model, or the folder of a bundle.")],
    as_json: AsJson = False,
) -> None:
    """Show what one model says of itself, and check its file against its hash."""
    from ..engine.registry import load_manifest
    from .console import new_table, show, write_json

    load_manifest(name)
    row = _describe(name)
    if as_json:
        write_json(row, "-")
        return
    table = new_table("", row["name"])
    table.columns[1].justify = "left"
    for key, value in row.items():
        table.add_row(key, str(value))
    show(table)


def _describe(name: str) -> dict[str, Any]:
    from ..engine.manifest import Manifest
    from ..engine.registry import find_bundle

    manifest = Manifest.load(find_bundle(name))
    path = manifest.model_path
    return {
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "ledger": manifest.ledger,
        "folder": str(manifest.folder),
        "bytes": path.stat().st_size if path.is_file() else 0,
        "sha256": manifest.sha256,
        "sizes_wh": [list(size) for size in manifest.sizes_wh],
        "variants": {name: variant.file for name, variant in manifest.variants.items()},
        **manifest.extra,
    }
