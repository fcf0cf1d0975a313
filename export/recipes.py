"""Recipes: how a network from elsewhere wants its pictures, and what it gives back. TOML; no ONNX needed.

The recipes that come with livecut are in ``recipes/``, each with the source of its facts. ``docs/recipes.md``
says how to write one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..engine.errors import UsageError

FOLDER = Path(__file__).with_name("recipes")
ACTIVATIONS = ("none", "sigmoid", "softmax", "minmax")
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
"""Mean and standard deviation of ImageNet's RGB, of values 0..255: ``normalise = "imagenet"`` in a recipe."""


class RecipeError(UsageError):
    """A recipe is unknown or malformed, does not fit the file, or none can be told from the file."""


@dataclass(frozen=True)
class StateRule:
    """One recurrent tensor: ``output`` of a frame is ``input`` of the next. It starts as zeros."""

    input: str
    output: str


@dataclass(frozen=True)
class Match:
    """What a file looks like that a recipe is for; everything that is stated must hold."""

    inputs: tuple[str, ...] = ()
    """Names of all inputs."""
    outputs: tuple[str, ...] = ()
    """Names that must be among the outputs."""
    input_shape: tuple[int, ...] = ()
    """Shape of the picture's input; 0 takes any size, a free one too."""
    output_shape: tuple[int, ...] = ()
    """Shape of the first output; 0 takes any size."""
    output_count: int = 0
    weights: tuple[str, ...] = ()
    """Parts of names of weights or nodes, each of which must occur."""


@dataclass(frozen=True)
class Recipe:
    """How to feed a network and read its alpha."""

    name: str
    title: str
    source: str
    """Where the facts are from."""
    licence: str
    """Of the weights that its authors publish: a note for people, no advice."""
    input_name: str = ""
    """Empty: the only input with four axes."""
    input_layout: str = "NCHW"
    color: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Input = (value in 0..255 - mean) / std, in the order of ``color``."""
    sizes_wh: tuple[tuple[int, int], ...] = ()
    """Sizes (width, height) for a file whose input's size is free."""
    multiple_of: int = 32
    fit: str = "stretch"
    pad_value: tuple[int, int, int] = (0, 0, 0)
    output: str | int = 0
    """Name of the output, or its position; -1 is the last."""
    output_layout: str = "NCHW"
    channel: int | None = None
    """Which channel is the product's, of an output that has several."""
    activation: tuple[str, ...] = ("none",)
    """In order: ``sigmoid``, ``softmax`` over the channels, ``minmax`` over the picture, ``none``."""
    invert: bool = False
    """The output is the background's probability."""
    state: tuple[StateRule, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Values of further inputs, by name: numbers, or ``{"longest": n}`` for min(1, n / longest side)."""
    match: tuple[Match, ...] = ()

    @property
    def effect(self) -> tuple[Any, ...]:
        """What it does to a file, without name and origin: recipes of equal effect are interchangeable."""
        told = {"name", "title", "source", "licence", "match", "constants", "sizes_wh"}
        values = [getattr(self, entry.name) for entry in fields(self) if entry.name not in told]
        return (*values, tuple(sorted((key, str(value)) for key, value in self.constants.items())))


@dataclass(frozen=True)
class Signature:
    """What a recipe is recognised by: names and shapes of a file's tensors."""

    inputs: Mapping[str, tuple[str, tuple[int | None, ...]]]
    """Name to (dtype, shape); None where a size is free."""
    outputs: Mapping[str, tuple[str, tuple[int | None, ...]]]
    names: Sequence[str] = ()
    """Names of weights and nodes."""

    def __str__(self) -> str:
        def listed(tensors: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> str:
            shown = [f"{name} {dtype} {_shape(shape)}" for name, (dtype, shape) in tensors.items()]
            return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")

        return f"in: {listed(self.inputs)}; out: {listed(self.outputs)}"

    def picture(self) -> str | None:
        """Name of the only input of four axes with three channels; None where there is not one."""
        wide = [name for name, (_, shape) in self.inputs.items() if len(shape) == 4 and 3 in shape]
        return wide[0] if len(wide) == 1 else None


def recipe_names() -> list[str]:
    """The recipes that come with livecut."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str or Path
        One of ``recipe_names()``, or the path of a ``.toml`` file.

    Raises
    ------
    RecipeError
        If there is none, or it is malformed; the message names the key.
    """
    text = str(name)
    if not text.endswith(".toml"):
        path = FOLDER / f"{text}.toml"
        if not path.is_file():
            known = recipe_names()
            close = get_close_matches(text, known, n=1)
            begins = [other for other in known if other.startswith(text)]
            hint = f"did you mean {' or '.join(begins or close)}? " if begins or close else ""
            raise RecipeError(
                f"no recipe {text!r}; {hint}There are: {', '.join(known)}; or give a .toml file"
            )
    else:
        path = Path(name).expanduser()
    return parse_recipe(_tables(path), path.stem, where=text)


def _tables(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The parsed file laid over the one it extends."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise RecipeError(f"{path}: not readable as TOML: {error}") from None
    base = tables.pop("extends", None)
    if base is None:
        return tables
    below = Path(base) if str(base).endswith(".toml") else FOLDER / f"{base}.toml"
    below = below if below.is_absolute() else path.parent / below
    if below in (*seen, path) or not below.is_file():
        raise RecipeError(f"{path}: extends: no recipe {base!r}; there are {', '.join(recipe_names())}")
    under = _tables(below, (*seen, path))
    if "match" not in tables:
        under.pop("match", None)  # what it looks like is told of each file anew
    for key, value in tables.items():
        under[key] = {**under[key], **value} if isinstance(value, dict) and key in under else value
    return under


def parse_recipe(tables: Mapping[str, Any], name: str, *, where: str = "recipe") -> Recipe:
    """Make a recipe of parsed TOML, checking every key; ``where`` begins the messages. Raises RecipeError."""
    sections = {"input", "output", "state", "constants", "match", "title", "source", "licence"}
    _refuse_unknown(tables, sections, where)
    known = {"name", "layout", "color", "mean", "std", "sizes_wh", "multiple_of", "fit", "pad_value"}
    _refuse_unknown(tables.get("input", {}), {*known, "normalise"}, f"{where}: input")
    spec = dict(tables.get("input", {}))
    if (normalise := spec.pop("normalise", None)) is not None:
        if normalise != "imagenet":
            raise RecipeError(f"{where}: input.normalise: expected 'imagenet', got {normalise!r}")
        spec = {**IMAGENET, **spec}
    out = tables.get("output", {})
    _refuse_unknown(out, {"name", "layout", "channel", "activation", "invert"}, f"{where}: output")
    activation = out.get("activation", "none")
    activation = (activation,) if isinstance(activation, str) else tuple(activation)
    for step in activation:
        _choice(step, ACTIVATIONS, f"{where}: output.activation")
    pad_value = _three(spec.get("pad_value", [0, 0, 0]), f"{where}: input.pad_value")
    recipe = Recipe(
        name=name,
        title=str(tables.get("title", name)),
        source=str(tables.get("source", "unknown")),
        licence=str(tables.get("licence", "unknown")),
        input_name=str(spec.get("name", "")),
        input_layout=_choice(spec.get("layout", "NCHW"), ("NCHW", "NHWC"), f"{where}: input.layout"),
        color=_choice(spec.get("color", "RGB"), ("RGB", "BGR"), f"{where}: input.color"),
        mean=_three(spec.get("mean", [0, 0, 0]), f"{where}: input.mean"),
        std=_three(spec.get("std", [1, 1, 1]), f"{where}: input.std"),
        sizes_wh=_sizes(spec.get("sizes_wh", []), f"{where}: input.sizes_wh"),
        multiple_of=_positive(spec.get("multiple_of", 32), f"{where}: input.multiple_of"),
        fit=_choice(spec.get("fit", "stretch"), ("stretch", "letterbox"), f"{where}: input.fit"),
        pad_value=(int(pad_value[0]), int(pad_value[1]), int(pad_value[2])),
        output=out.get("name", 0),
        output_layout=_choice(out.get("layout", "NCHW"), ("NCHW", "NHWC"), f"{where}: output.layout"),
        channel=out.get("channel"),
        activation=activation,
        invert=bool(out.get("invert", False)),
        state=tuple(_state(entry, f"{where}: state") for entry in tables.get("state", [])),
        constants=dict(tables.get("constants", {})),
        match=tuple(_match(entry, f"{where}: match") for entry in tables.get("match", [])),
    )
    if 0 in recipe.std:
        raise RecipeError(f"{where}: input.std: expected numbers other than 0, got {list(recipe.std)}")
    if not isinstance(recipe.output, (str, int)):
        raise RecipeError(f"{where}: output.name: expected a name or a position, got {recipe.output!r}")
    if recipe.channel is not None and (not isinstance(recipe.channel, int) or recipe.channel < 0):
        raise RecipeError(f"{where}: output.channel: expected 0, 1, ..., got {recipe.channel!r}")
    if "softmax" in recipe.activation and recipe.channel is None:
        raise RecipeError(f"{where}: output.activation: softmax needs output.channel, the product's channel")
    return recipe


def recognise(signature: Signature, recipes: Sequence[Recipe] | None = None) -> Recipe:
    """The recipe that fits a file.

    Raises
    ------
    RecipeError
        If none fits, or several that differ do; the message says what the file has and asks for one.
    """
    recipes = [load_recipe(name) for name in recipe_names()] if recipes is None else recipes
    fitting = [recipe for recipe in recipes if any(fits(match, signature) for match in recipe.match)]
    if fitting and len({recipe.effect for recipe in fitting}) == 1:
        titles, licences = ([getattr(recipe, key) for recipe in fitting] for key in ("title", "licence"))
        return replace(fitting[0], title=" or ".join(titles), licence=" or ".join(dict.fromkeys(licences)))
    could = (
        f"it could be {' or '.join(recipe.name for recipe in fitting)}"
        if fitting
        else f"there are {', '.join(recipe.name for recipe in recipes)}, or write one, see docs/recipes.md"
    )
    raise RecipeError(f"cannot tell which network this is ({signature}); name its --recipe: {could}")


def fits(match: Match, signature: Signature) -> bool:
    """Whether a file looks as ``match`` says."""
    picture = signature.picture() or next(iter(signature.inputs), "")
    first = next(iter(signature.outputs.values()), ("", ()))[1]
    return (
        (not match.inputs or set(match.inputs) == set(signature.inputs))
        and set(match.outputs) <= set(signature.outputs)
        and (
            not match.input_shape or _of_shape(match.input_shape, signature.inputs.get(picture, ("", ()))[1])
        )
        and (not match.output_shape or _of_shape(match.output_shape, first))
        and (not match.output_count or match.output_count == len(signature.outputs))
        and all(any(part in name for name in signature.names) for part in match.weights)
    )


def _of_shape(wanted: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        want in (0, have) for want, have in zip(wanted, shape, strict=True)
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def _refuse_unknown(table: Any, known: set[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}: expected a table, got {table!r}")
    if strange := sorted(set(table) - known):
        raise RecipeError(f"{where}: unknown key {strange[0]!r}; there are {', '.join(sorted(known))}")


def _choice(value: Any, options: tuple[str, ...], where: str) -> str:
    if value not in options:
        raise RecipeError(f"{where}: expected {' or '.join(options)}, got {value!r}")
    return value


def _numbers(value: Any, where: str, kind: tuple[type, ...] = (int, float)) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
        raise RecipeError(f"{where}: expected a list of numbers, got {value!r}")
    return value


def _three(value: Any, where: str) -> tuple[float, float, float]:
    if len(_numbers(value, where)) != 3:
        raise RecipeError(f"{where}: expected 3 numbers, got {value!r}")
    return float(value[0]), float(value[1]), float(value[2])


def _positive(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecipeError(f"{where}: expected a whole number from 1, got {value!r}")
    return value


def _sizes(value: Any, where: str) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        raise RecipeError(f"{where}: expected a list of [width, height], got {value!r}")
    for size in value:
        if len(_numbers(size, where, (int,))) != 2 or min(size) < 1:
            raise RecipeError(f"{where}: expected [width, height], got {size!r}")
    return tuple((size[0], size[1]) for size in value)


def _state(entry: Any, where: str) -> StateRule:
    _refuse_unknown(entry, {"input", "output"}, where)
    if set(entry) != {"input", "output"}:
        raise RecipeError(f"{where}: expected input and output, the names of two tensors, got {entry!r}")
    return StateRule(str(entry["input"]), str(entry["output"]))


def _match(entry: Any, where: str) -> Match:
    _refuse_unknown(entry, {item.name for item in fields(Match)}, where)
    if not entry:
        raise RecipeError(f"{where}: expected something to recognise a file by, got nothing")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Match(**values)
