"""The shapes an exported graph takes: fixed at one size, or free within what the manifest allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..engine.errors import ModelError, UsageError

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]
Profile = tuple[Shape, Shape, Shape]
AXES = ("batch", "height", "width")


@dataclass(frozen=True)
class Shapes:
    """Which inputs a graph shall take.

    ``size_wh`` is the one size of a fixed graph, or None for a graph whose height and width are free;
    ``batch`` is the number of pictures, or the most of them where ``free_batch``.
    """

    size_wh: tuple[int, int] | None
    batch: int = 1
    free_batch: bool = False

    def to_json(self) -> dict[str, Any]:
        """What a step's result depends on."""
        return {
            "size_wh": list(self.size_wh) if self.size_wh else None,
            "batch": self.batch,
            "free_batch": self.free_batch,
        }


def is_dynamic(model: onnx.ModelProto, manifest: Mapping[str, Any]) -> bool:
    """Whether height and width of the picture are free in the graph."""
    picture = _input(model, manifest["input"]["name"])
    return any(not d.HasField("dim_value") for d in picture.type.tensor_type.shape.dim[2:])


def chosen(
    model: onnx.ModelProto,
    manifest: Mapping[str, Any],
    *,
    size_wh: tuple[int, int] | None,
    batch: int,
    dynamic: bool,
) -> Shapes:
    """The shapes to write, from what was asked for and what the graph has.

    Without ``size_wh`` and ``dynamic`` a graph keeps what it has: free sizes stay free.

    Raises
    ------
    UsageError
        If ``size_wh`` is not one the model takes.
    ModelError
        If the graph is fixed at another size, and so cannot be had at this one or as a dynamic one.
    """
    name, step = manifest["name"], manifest["input"]["multiple_of"]
    free = is_dynamic(model, manifest)
    if size_wh is not None and (size_wh[0] % step or size_wh[1] % step or min(size_wh) < step):
        raise UsageError(
            f"--size: {name} takes multiples of {step}, got {size_wh[0]}x{size_wh[1]}; "
            f"near it is {_rounded(size_wh[0], step)}x{_rounded(size_wh[1], step)}"
        )
    if free:
        return Shapes(None if dynamic or size_wh is None else size_wh, batch, dynamic and batch > 1)
    dims = _input(model, manifest["input"]["name"]).type.tensor_type.shape.dim
    fixed = (dims[3].dim_value, dims[2].dim_value)
    if dynamic or (size_wh is not None and size_wh != fixed):
        asked = "free sizes" if dynamic else f"{size_wh[0]}x{size_wh[1]}"  # type: ignore[index]
        raise ModelError(
            f"{name}: its graph is fixed at {fixed[0]}x{fixed[1]} and cannot take {asked}; leave out --size "
            "and --dynamic, or export it again from its framework with dynamic axes"
        )
    return Shapes(fixed, batch)


def apply_shapes(
    model: onnx.ModelProto, manifest: Mapping[str, Any], shapes: Shapes
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Write ``shapes`` into the graph's inputs, outputs and state; infer those in between again.

    Returns
    -------
    model : ModelProto
        A copy; free axes are called ``batch``, ``height`` and ``width`` (and as in the state's shapes).
    manifest : dict
        A copy whose ``sizes_wh`` is the one size of a fixed graph, and with ``batch`` and ``free_batch``
        where that is not 1.

    Raises
    ------
    ModelError
        If the graph cannot run at these shapes.
    """
    import onnx
    from onnx import shape_inference

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    wanted = named_shapes(manifest, shapes)
    for value in (*graph.input, *graph.output):
        if value.name in wanted:
            _set_dims(value, wanted[value.name])
        else:
            value.type.tensor_type.ClearField("shape")
    try:
        result = shape_inference.infer_shapes(result, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # shape inference raises kinds of its own
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{manifest['name']}: cannot take {described(shapes)}: {first}; the graph is fixed otherwise"
        ) from None
    del result.graph.value_info[:]
    changed = dict(manifest)
    if shapes.size_wh is not None:
        changed["input"] = {**manifest["input"], "sizes_wh": [list(shapes.size_wh)]}
    if shapes.batch != 1:
        changed["batch"], changed["free_batch"] = shapes.batch, shapes.free_batch
    return result, changed


def named_shapes(manifest: Mapping[str, Any], shapes: Shapes) -> dict[str, tuple[int | str, ...]]:
    """Every input and output by name, with numbers where a size is fixed and words where it is free."""
    batch: int | str = "batch" if shapes.free_batch else shapes.batch
    width, height = shapes.size_wh or ("width", "height")
    named: dict[str, tuple[int | str, ...]] = {
        manifest["input"]["name"]: (batch, 3, height, width),
        manifest["output"]["name"]: (batch, 1, height, width),
    }
    for tensor in manifest.get("state", ()):
        sizes = [_state_size(size, shapes.size_wh) for size in tensor["shape"]]
        named[tensor["input"]] = named[tensor["output"]] = (batch, *sizes[1:])
    return named


def shapes_at(
    manifest: Mapping[str, Any], size_wh: tuple[int, int], batch: int = 1, *, outputs: bool = False
) -> dict[str, Shape]:
    """Shape of every input (and output) at one size and batch."""
    named = named_shapes(manifest, Shapes(size_wh, batch))
    skipped = set() if outputs else {manifest["output"]["name"], *(t["output"] for t in manifest["state"])}
    return {name: tuple(int(size) for size in shape) for name, shape in named.items() if name not in skipped}


def profiles(manifest: Mapping[str, Any], shapes: Shapes) -> dict[str, Profile] | None:
    """Smallest, usual and largest shape of every input, for TensorRT; None for a graph that is fixed.

    The usual one is the manifest's first size; smallest and largest span all its sizes.
    """
    if shapes.size_wh is not None and not shapes.free_batch:
        return None
    sizes = [(width, height) for width, height in manifest["input"]["sizes_wh"]]
    if shapes.size_wh is not None:
        sizes = [shapes.size_wh]
    low = (min(width for width, _ in sizes), min(height for _, height in sizes))
    high = (max(width for width, _ in sizes), max(height for _, height in sizes))
    smallest = shapes_at(manifest, low, 1 if shapes.free_batch else shapes.batch)
    usual, largest = (shapes_at(manifest, size, shapes.batch) for size in (sizes[0], high))
    return {name: (smallest[name], usual[name], largest[name]) for name in smallest}


def described(shapes: Shapes) -> str:
    """``512x288``, ``any size``, with the batch where it is not 1."""
    size = f"{shapes.size_wh[0]}x{shapes.size_wh[1]}" if shapes.size_wh else "any size"
    if shapes.batch == 1:
        return size
    return f"{size}, {'1 to ' if shapes.free_batch else ''}{shapes.batch} pictures at once"


def _input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    for value in model.graph.input:
        if value.name == name:
            return value
    names = ", ".join(value.name for value in model.graph.input)
    raise ModelError(f"the graph has no input {name!r}; it has {names or 'none'}")


def _set_dims(value: onnx.ValueInfoProto, sizes: tuple[int | str, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in sizes:
        if isinstance(size, int):
            dims.add().dim_value = size
        else:
            dims.add().dim_param = size


def _state_size(size: int | str, size_wh: tuple[int, int] | None) -> int | str:
    if isinstance(size, int):
        return size
    side, _, divisor = size.partition("/")
    if size_wh is None:
        return size
    return {"width": size_wh[0], "height": size_wh[1]}[side] // int(divisor or 1)


def _rounded(value: int, step: int) -> int:
    return max(step, round(value / step) * step)
