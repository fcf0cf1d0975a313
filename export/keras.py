"""Keras files as sources: the article's generator by itself, any other model with a recipe."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.atomic import sha256_of
from .keras_article import KEY, SIZE_PX, alpha_of, is_generator, with_alpha
from .keras_file import KerasFile, open_keras
from .keras_reference import compute
from .parity import MAX_DIFFERENCE, ParityError
from .runners import Arrays, onnx_runner
from .weights import Apart, Loaded, Source

if TYPE_CHECKING:
    import onnx

    from .recipes import Recipe


def keras_source(path: Path, recipe: str | Path | None, key: Sequence[int] = KEY) -> Source:
    """The model in a Keras file.

    Parameters
    ----------
    path : Path
        ``.h5``, ``.weights.h5`` or ``.keras``.
    recipe : str or Path, optional
        How it is fed. The article's generator needs none; others may be known by their tensors.
    key : three int
        The colour, RGB 0..255, over which a generator paints its cut-outs.

    """
    from .weights_foreign import name_of, recipe_key

    file = open_keras(path)
    name, digest = name_of(path), sha256_of(path)
    if recipe is None and is_generator(file):
        facts = {"key": list(key)}
        return Source(name, "keras", digest, path.name, lambda _: _generator(file, name, key), facts, path)
    return Source(
        name,
        "keras",
        digest,
        path.name,
        lambda size: _with_recipe(file, path, recipe, name, size),
        recipe_key(recipe),
        path,
    )


# -- the article's generator


def _generator(file: KerasFile, name: str, key: Sequence[int]) -> Loaded:
    from .api import describe
    from .keras_model import build

    model = with_alpha(build(_free(file), name), key)

    def reference(feed: Mapping[str, np.ndarray]) -> Arrays:
        image = feed["image"]
        answers = compute(file, np.ascontiguousarray(image.transpose(0, 2, 3, 1)))
        cutout = answers[file.layers[-1]["config"]["name"]].transpose(0, 3, 1, 2)
        return {"alpha": alpha_of(image, cutout, key)}

    manifest = describe(name, sizes_wh=[_size(file)])
    colour = " ".join(map(str, key))
    notes = (*file.notes, f"alpha is read off its cut-outs over {colour} (--key for another colour)")
    return Loaded(model, manifest, reference, "keras", file.version, notes=notes)


def _size(file: KerasFile) -> tuple[int, int]:
    shape = _input_shape(file) or [None, SIZE_PX, SIZE_PX, 3]
    return shape[2] or SIZE_PX, shape[1] or SIZE_PX


def _input_shape(file: KerasFile) -> list[Any] | None:
    spec = file.layers[0]["config"]
    return spec.get("batch_input_shape") or spec.get("batch_shape")


def _free(file: KerasFile) -> KerasFile:
    """The same file with a free input size: convolutions that keep the size take any."""
    config = copy.deepcopy(dict(file.config))
    inner = config["config"]
    spec = (inner["layers"] if isinstance(inner, dict) else inner)[0]["config"]
    spec.pop("batch_shape", None)
    spec["batch_input_shape"] = [None, None, None, 3]
    return replace(file, config=config)


# -- any other, with a recipe


def _with_recipe(
    file: KerasFile, path: Path, recipe: str | Path | None, name: str, size_wh: tuple[int, int] | None
) -> Loaded:
    from .foreign import signature_of
    from .keras_model import build
    from .recipes import load_recipe, recognise
    from .weights_foreign import load_with_recipe

    model = build(file, path.name)
    chosen = load_recipe(recipe) if recipe is not None else recognise(signature_of(model))
    worst = _held_against(file, model, chosen, path.name)
    with tempfile.TemporaryDirectory(prefix="livecut-") as work:
        raw = Path(work) / f"{path.stem}.onnx"
        raw.write_bytes(model.SerializeToString())
        loaded = load_with_recipe(raw, chosen, name, size_wh, path)
    return replace(
        loaded,
        library="keras",
        library_version=file.version,
        notes=(*file.notes, *loaded.notes),
        before={"ONNX against its layers in NumPy": worst, **loaded.before},
    )


def _held_against(file: KerasFile, model: onnx.ModelProto, recipe: Recipe, where: str) -> Apart:
    """How far the graph is from the layers computed one by one, on noise; raises ParityError."""
    picture = model.graph.input[0]
    sides = [dim.dim_value or SIZE_PX for dim in picture.type.tensor_type.shape.dim[2:]]
    noise = np.random.default_rng(11).uniform(0, 255, (1, 3, *sides)).astype(np.float32)
    mean, std = (np.asarray(value, np.float32).reshape(1, 3, 1, 1) for value in (recipe.mean, recipe.std))
    image = np.ascontiguousarray((noise - mean) / std)
    got = onnx_runner(model, where)({picture.name: image})
    expected = compute(file, np.ascontiguousarray(image.transpose(0, 2, 3, 1)))
    worst, means = 0.0, []
    for output, value in got.items():
        difference = np.abs(value - expected[output].transpose(0, 3, 1, 2))
        difference /= max(1.0, float(np.abs(value).max()))
        worst = max(worst, float(difference.max()))
        means.append(float(difference.mean()))
    if not worst <= MAX_DIFFERENCE:  # true for NaN, too
        raise ParityError(
            f"{where}: the graph differs from its layers computed one by one by {worst:.1e}; the limit is "
            f"{MAX_DIFFERENCE:.0e}. Please report it with the model's configuration"
        )
    return Apart(worst, float(np.mean(means)))
