"""Networks from elsewhere as sources: an ONNX or TorchScript file, and the recipe that says how it is fed."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.atomic import sha256_of
from ..engine.errors import ModelError, UsageError
from .parity import Limits, ParityError
from .runners import onnx_runner
from .weights import Apart, Loaded, Source, bundle_source

if TYPE_CHECKING:
    import onnx

    from .recipes import Recipe

METADATA = ("name", "version", "licence", "input", "output", "state")


def name_of(path: Path) -> str:
    """A model's name from its file's: ``SINet_Softmax.onnx`` to ``sinet-softmax``, without ``.weights``."""
    stem = path.stem.lower().removesuffix(".weights")
    return re.sub(r"[^a-z0-9.]+", "-", stem).strip("-.") or "model"


def recipe_key(recipe: str | Path | None) -> dict[str, Any]:
    """What a step depends on where it was done with ``recipe``: its contents, not its name alone."""
    if recipe is None:
        return {"recipe": None}
    from .recipes import load_recipe

    return {"recipe": repr(load_recipe(recipe))}


def onnx_source(path: Path, recipe: str | Path | None) -> Source:
    """An ONNX file: livecut's own, which says how it is fed, or one from elsewhere with a recipe."""
    from .onnx_file import read_proto

    model = read_proto(path)  # before anything else, so that what is not ONNX says so at once
    own = own_manifest(model, path.name)
    digest = sha256_of(path)
    if own is not None and recipe is None:
        return Source(own["name"], "onnx", digest, path.name, lambda _size: _load_own(path, own), {}, path)
    key = recipe_key(recipe)
    name = name_of(path)
    return Source(
        name,
        "onnx",
        digest,
        path.name,
        lambda size: load_with_recipe(path, recipe, name, size),
        key,
        path,
    )


def own_manifest(model: onnx.ModelProto, where: str) -> dict[str, Any] | None:
    """The manifest inside a file that livecut exported; None for any other file."""
    facts = {entry.key: entry.value for entry in model.metadata_props}
    if "livecut.input" not in facts:
        return None
    try:
        values = {name: facts[f"livecut.{name}"] for name in METADATA}
        parsed = {name: json.loads(values[name]) for name in ("input", "output", "state")}
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where}: its livecut metadata are damaged ({error}); name a --recipe") from None
    begins_with = facts.get("livecut.begins_with")
    return {"format": 1, **values, **parsed, **({"begins_with": begins_with} if begins_with else {})}


def _load_own(path: Path, manifest: Mapping[str, Any]) -> Loaded:
    import onnx

    from .onnx_file import load_onnx

    model = load_onnx(path)
    return Loaded(model, manifest, onnx_runner(path, path.name), "onnx", onnx.__version__)


def load_with_recipe(
    path: Path,
    recipe: str | Path | Recipe | None,
    name: str,
    size_wh: tuple[int, int] | None,
    origin: Path | None = None,
) -> Loaded:
    """Wrap the ONNX file ``path`` as its recipe says; the wrapped graph has been held against the file.

    ``origin`` is what ``path`` was made from, where that is another file: card and ledger then name it.
    """
    from .checks import check_domains
    from .foreign import import_foreign
    from .onnx_file import read_proto
    from .plain import REWRITTEN

    check_domains(read_proto(path), path.name, REWRITTEN)  # nothing here could even run it
    with tempfile.TemporaryDirectory(prefix="livecut-") as work:
        report = import_foreign(path, recipe, Path(work) / name, size=size_wh)
        loaded = bundle_source(report.folder).load(None)
        # The folder goes away with this block, so the reference must hold its file's contents.
        reference = onnx_runner(loaded.model, path.name)
    if origin is not None:
        told = json.dumps([loaded.card, dict(loaded.ledger)])
        told = told.replace(report.sha256, sha256_of(origin)).replace(path.name, origin.name)
        card, ledger = json.loads(told)
        loaded = replace(loaded, card=card, ledger=ledger)
    parity = report.parity
    before = {"wrapped graph against the file": Apart(parity["max_abs"], parity["mean_abs"])}
    return replace(loaded, reference=reference, notes=tuple(report.notes), before=before)


# -- TorchScript


def torchscript_source(path: Path, recipe: str | Path | None) -> Source:
    """A TorchScript file and its recipe, which names sizes and states."""
    from .recipes import load_recipe, recipe_names
    from .torchscript import need_torch

    need_torch()
    if recipe is None:
        raise UsageError(
            f"{path}: TorchScript does not say how it is fed: name its --recipe, a .toml file or one "
            f"of {', '.join(recipe_names())}"
        )
    chosen = load_recipe(recipe)
    name = name_of(path)
    return Source(
        name,
        "torchscript",
        sha256_of(path),
        path.name,
        lambda size: _load_torchscript(path, chosen, name, size),
        recipe_key(recipe),
        path,
    )


def _load_torchscript(path: Path, recipe: Recipe, name: str, size_wh: tuple[int, int] | None) -> Loaded:
    import torch

    from .torchscript import load_torchscript, trace_plain

    module = load_torchscript(path)
    size = size_wh or (recipe.sizes_wh[0] if recipe.sizes_wh else None)
    if size is None:
        raise UsageError(f"the recipe {recipe.name} names no size: give one with --size WxH")
    with tempfile.TemporaryDirectory(prefix="livecut-") as work:
        raw = Path(work) / path.with_suffix(".onnx").name
        model, run_module = trace_plain(module, recipe, size, name)
        raw.write_bytes(model.SerializeToString())
        worst = same_answers(run_module, raw, recipe, size)
        loaded = load_with_recipe(raw, recipe, name, size_wh, path)
    before = {"ONNX against TorchScript": worst, **loaded.before}
    return replace(loaded, library="torch", library_version=torch.__version__, before=before)


def same_answers(reference: Any, candidate: Path, recipe: Recipe, size_wh: tuple[int, int]) -> Apart:
    """How far the raw ONNX file is from its source on noise; raises ParityError past the limit."""
    runner, limits = onnx_runner(candidate, candidate.name), Limits()
    rng = np.random.default_rng(5)
    picture = rng.uniform(0, 255, (1, 3, size_wh[1], size_wh[0])).astype(np.float32)
    mean, std = (np.asarray(value, np.float32).reshape(1, 3, 1, 1) for value in (recipe.mean, recipe.std))
    feed = {reference.inputs[0]: np.ascontiguousarray((picture - mean) / std)}
    feed.update({name: np.zeros(shape, np.float32) for name, shape in reference.states.items()})
    expected, got = reference(feed), runner(feed)
    largest, means = 0.0, []
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        difference = np.abs(got[name] - value) / scale
        worst = float(difference.max())
        if not worst <= limits.max_abs:  # true for NaN, too
            raise ParityError(
                f"{candidate.name}: differs from its source by {worst:.1e} in {name!r}, relative to its "
                f"largest value; the limit is {limits.max_abs:.0e}"
            )
        largest = max(largest, worst)
        means.append(float(difference.mean()))
    return Apart(largest, float(np.mean(means)))
