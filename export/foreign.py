"""Networks from elsewhere: an ONNX file and a recipe become a bundle that the engine runs as its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.atomic import sha256_of
from ..engine.errors import ModelError, UsageError
from .foreign_bundle import precision_of, write_foreign
from .foreign_graph import ALPHA, IMAGE, Feed, Plan, activations_left, constant_value, lay_together, wrap
from .foreign_runs import LIMITS, Answer, Run, compare, first_states, open_runner, pictures, settled_states
from .onnx_file import load_onnx, opset_of
from .onnx_folding import fold
from .plain import DYNAMIC, is_byte_wise, made_plain
from .recipes import Recipe, RecipeError, Signature, load_recipe, recognise

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str, float], None]
Size = tuple[int, int]


@dataclass(frozen=True)
class ForeignReport:
    """What ``import_foreign`` did."""

    folder: Path
    recipe: Recipe
    notes: tuple[str, ...]
    """What the file knew better than the recipe, and what was changed: for people."""
    sizes_wh: tuple[Size, ...]
    fixed: bool
    """Whether the graph takes one size alone."""
    opset: int
    parity: dict[str, float]
    """The wrapped graph against the file itself, in alpha: ``max_abs``, ``mean_abs``, over ``inputs``."""
    runtime: str
    """What ran both: ``openvino`` or ``onnxruntime``."""
    precision: str
    """``fp32``, ``fp16`` or ``int8``: what the file's weights are."""
    sha256: str
    """Of the file that was imported."""
    seconds: float


def import_foreign(
    onnx_path: Path,
    recipe: Recipe | str | Path | None,
    out_folder: Path,
    *,
    size: Size | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> ForeignReport:
    """Make the bundle ``out_folder`` of an ONNX file from elsewhere.

    The wrapped graph is run beside the file on pictures and on edge cases; where they differ, nothing is
    written. A bundle already there is replaced only once the new one is complete.

    Parameters
    ----------
    onnx_path : Path
        The file; external data beside it.
    recipe : Recipe, str, Path or None
        A recipe, the name of one, a ``.toml`` file, or None to tell it from the file.
    out_folder : Path
        The bundle; its name becomes the model's.
    size : (int, int), optional
        The one size (width, height) of the bundle, for a file whose size is free; default: the
        recipe's sizes.
    progress : callable, optional
        Called with a step's name and the share that is done.
    command : str
        How it was called, for the passport.

    Raises
    ------
    ModelError
        If the file cannot be read, run or wrapped.
    ParityError
        If the wrapped graph computes something else than the file.
    RecipeError, UsageError
        If no recipe fits, or ``size`` is not to be had.
    """
    began = time.monotonic()
    step = progress or (lambda name, share: None)
    onnx_path = Path(onnx_path)
    step("read", 0.0)
    if recipe is not None and not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    model = load_onnx(onnx_path)
    signature = signature_of(model)
    chosen = recognise(signature) if recipe is None else recipe
    notes = [f"taken for {chosen.title} by its tensors"] if recipe is None else []
    feed, said = lay_together(chosen, signature)
    sizes, fixed = chosen_sizes(chosen, feed, size)
    step("run the file as it is", 0.1)
    run, runtime = open_runner(onnx_path, "onnxruntime" if is_byte_wise(model) else "openvino")
    run_at = _Source(run, feed, chosen)
    answers = [run_at.probe(at) for at in dict.fromkeys((sizes[0], sizes[-1]))]
    plan, more = planned(model, chosen, feed, answers, fixed)
    step("wrap", 0.4)
    plain, rewritten = made_plain(wrap(model, plan))
    wrapped = fold(plain)
    step("compare", 0.5)
    precision, layers = precision_of(wrapped)
    limits = LIMITS["requantised" if is_byte_wise(model) else precision]
    parity = run_at.parity(wrapped, plan, answers[0], limits, flat=DYNAMIC not in rewritten)
    if DYNAMIC in rewritten:
        rewritten[rewritten.index(DYNAMIC)] = (
            f"{DYNAMIC}; so the weights compute in {precision}, and alpha is {parity['max_abs']:.1e} at most "
            f"and {parity['mean_abs']:.1e} on average from that of the file, which rounds them"
        )
    report = ForeignReport(
        folder=Path(out_folder),
        recipe=chosen,
        notes=(*notes, *said, *more, *rewritten),
        sizes_wh=tuple(sizes),
        fixed=fixed,
        opset=opset_of(wrapped),
        parity=parity,
        runtime=runtime,
        precision=precision,
        sha256=sha256_of(onnx_path),
        seconds=time.monotonic() - began,
    )
    step("write", 0.9)
    write_foreign(wrapped, plan, report, onnx_path, layers, command)
    step("done", 1.0)
    return replace(report, seconds=time.monotonic() - began)


def chosen_sizes(recipe: Recipe, feed: Feed, size: Size | None) -> tuple[list[Size], bool]:
    """The bundle's sizes, and whether it takes one alone. Raises UsageError or RecipeError."""
    if feed.size_wh is not None:
        if size is not None and size != feed.size_wh:
            raise UsageError(
                f"--size {size[0]}x{size[1]}: the file is fixed at {feed.size_wh[0]}x{feed.size_wh[1]}; "
                "leave out --size, or export the file again with free axes"
            )
        return [feed.size_wh], True
    if size is not None:
        return [size], True
    if not recipe.sizes_wh:
        raise RecipeError(
            f"the file takes any size and the recipe {recipe.name} names none: give one with --size WxH"
        )
    # One size does not tell how the states would follow another.
    return list(recipe.sizes_wh), bool(recipe.state) and len(recipe.sizes_wh) == 1


def signature_of(model: onnx.ModelProto) -> Signature:
    """Names, dtypes and shapes of inputs (weights aside) and outputs, and names of weights and nodes."""
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}

    def tensors(values: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        found = {}
        for value in values:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
            found[value.name] = (np.dtype(dtype).name, shape)
        return found

    inputs = tensors(value for value in model.graph.input if value.name not in weights)
    names = [*weights, *(node.name for node in model.graph.node if node.name)]
    return Signature(inputs, tensors(model.graph.output), names)


def planned(
    model: onnx.ModelProto, recipe: Recipe, feed: Feed, answers: list[Answer], fixed: bool
) -> tuple[Plan, list[str]]:
    """What goes around the file, from what came out of it. Raises ModelError or RecipeError."""
    first = answers[0]
    shape, (width, height) = first.raw.shape, first.size_wh
    if len(shape) not in (2, 3, 4) or (len(shape) > 2 and shape[0] != 1):
        raise _no_plane(feed.output_name, shape)
    activations, notes = activations_left(model, feed.output_name, recipe.activation)
    nhwc, channels = False, 1
    if len(shape) == 4:
        nhwc = recipe.output_layout == "NHWC"
        if shape[1:3] == (height, width) != shape[2:4]:
            nhwc = True
        elif shape[2:4] == (height, width) != shape[1:3]:
            nhwc = False
        if nhwc != (recipe.output_layout == "NHWC"):
            notes.append(f"the output's layout is {'NHWC' if nhwc else 'NCHW'}, other than the recipe says")
        channels = shape[3] if nhwc else shape[1]
    channel = recipe.channel
    if channels == 1:
        if channel is not None:
            notes.append("the output has one channel: it is taken as it is")
        channel, activations = None, [step for step in activations if step != "softmax"]
    elif channel is None or channel >= channels:
        raise RecipeError(
            f"the output {feed.output_name!r} has {channels} channels and the recipe {recipe.name} "
            f"{'says not which' if channel is None else f'wants number {channel}'}: set output.channel"
        )
    plane = shape[-2:] if len(shape) < 4 else (shape[1:3] if nhwc else shape[2:4])
    if min(plane) < 2:
        raise _no_plane(feed.output_name, shape)
    resize = plane != (height, width)
    if resize:
        notes.append(f"the output is {plane[1]}x{plane[0]}: it is enlarged to the input's {width}x{height}")
    plan = Plan(
        feed=feed,
        raw_shape=shape,
        size_wh=first.size_wh,
        fixed=fixed,
        nhwc=nhwc,
        channel=channel,
        activations=tuple(activations),
        invert=recipe.invert,
        resize=resize,
        constants=first.constants,
        states=settled_states(answers),
    )
    differing = {
        name
        for answer in answers
        for name, value in answer.constants.items()
        if not np.array_equal(value, first.constants[name])
    }
    if differing:
        raise RecipeError(f"the constants of {recipe.name} differ between its sizes: give one --size WxH")
    return plan, notes


def _no_plane(name: str, shape: tuple[int, ...]) -> ModelError:
    shown = "x".join(map(str, shape))
    return ModelError(f"the output {name!r} is {shown}; expected an alpha of 1x1xHxW: choose output.name")


class _Source:
    """The file itself, run at some size."""

    def __init__(self, run: Run, feed: Feed, recipe: Recipe) -> None:
        self.run, self.feed, self.recipe = run, feed, recipe

    def probe(self, size_wh: Size) -> Answer:
        """Run once on noise, and once more with the states that came out, to learn every shape."""
        feed = self.feed
        constants = {
            name: constant_value(self.recipe.constants[name], shape, dtype, size_wh)
            for name, (dtype, shape) in feed.constants.items()
        }
        image = pictures(self.recipe, size_wh)[0]
        states = first_states(feed)
        outputs = self._once(image, states, constants)
        shapes = {name: outputs[output].shape for name, (output, _, _) in feed.states.items()}
        if shapes:
            again = {name: np.zeros(shape, states[name].dtype) for name, shape in shapes.items()}
            outputs = self._once(image, again, constants)
            if any(outputs[output].shape != shapes[name] for name, (output, _, _) in feed.states.items()):
                raise ModelError("its states change their shapes from frame to frame; they must keep them")
        return Answer(size_wh, outputs[feed.output_name], shapes, constants)

    def parity(
        self,
        wrapped: onnx.ModelProto,
        plan: Plan,
        probe: Answer,
        limits: tuple[float, float],
        *,
        flat: bool,
    ) -> dict[str, float]:
        """Both over the same pictures, the states carried along; raises ParityError where they differ."""
        ours, _ = open_runner(wrapped)
        states = {name: np.zeros(shape, np.float32) for name, shape in probe.states.items()}
        raw_states = {name: states[name].astype(self.feed.states[name][1]) for name in states}
        differences = []
        for image in pictures(self.recipe, probe.size_wh, flat=flat):
            outputs = self._once(image, raw_states, probe.constants)
            answer = ours({IMAGE: image, **states})
            differences.append(compare(outputs[self.feed.output_name], answer[ALPHA], plan, limits))
            for name, (output, _, _) in self.feed.states.items():
                raw_states[name], states[name] = outputs[output], answer[output]
        return {
            "max_abs": max(largest for largest, _ in differences),
            "mean_abs": float(np.mean([mean for _, mean in differences])),
            "inputs": len(differences),
        }

    def _once(
        self, image: np.ndarray, states: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        return self.run({self.feed.input_name: self.feed.to_raw(image), **states, **constants})
