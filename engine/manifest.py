"""What an exported model says of itself. Standard library only: exporters and engines meet here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ManifestError, ModelError, UsageError

FORMAT = 1
Shape = tuple[int | None, ...]
Tensors = Mapping[str, tuple[str, Shape]]


@dataclass(frozen=True)
class StateTensor:
    """A recurrent tensor: the model's output ``output`` of one frame is its input ``input`` of the next."""

    input: str
    output: str
    shape: tuple[int | str, ...]
    """Sizes; ``height/4`` and the like where it follows the input size. Starts as zeros."""

    def shape_for(self, size_wh: tuple[int, int]) -> tuple[int, ...]:
        """The shape at an input of ``size_wh``."""
        sides = {"width": size_wh[0], "height": size_wh[1]}
        return tuple(_dimension(value, sides) for value in self.shape)


@dataclass(frozen=True)
class Variant:
    """The same model in another precision: an ONNX file of the same inputs and outputs in the same bundle."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The contents of ``manifest.json`` of one bundle."""

    name: str
    version: str
    folder: Path
    file: str
    sha256: str
    input_name: str
    color: str
    """``RGB`` or ``BGR``: the order of the input's channels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Input = (value in 0..255 - mean) / std, per channel, in the order of ``color``."""
    sizes_wh: tuple[tuple[int, int], ...]
    """Input sizes (width, height) the model was made for; the session takes the one nearest in aspect."""
    multiple_of: int
    fit: str
    """``letterbox`` or ``stretch``."""
    pad_value: tuple[int, int, int]
    output_name: str
    layout: str = "NCHW"
    dtype: str = "float32"
    state: tuple[StateTensor, ...] = ()
    licence: str = "unknown"
    ledger: str | None = None
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """Precision, such as ``int8``, to the file that has it."""
    begins_with: str | None = None
    """``plate``: the first picture of a stream must be the clean plate, which its state then keeps."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Everything else in the file: figures, opset, size."""

    @property
    def model_path(self) -> Path:
        """Where the ONNX file lies."""
        return self.folder / self.file

    @property
    def batch(self) -> int:
        """How many pictures one inference may take at most; 1 where that is fixed in the graph."""
        return int(self.extra.get("batch", 1)) if self.extra.get("free_batch") else 1

    def path_for(self, precision: str) -> Path:
        """The ONNX file to run at ``precision``: the variant of that name, else the model's own."""
        variant = self.variants.get(precision)
        return self.folder / variant.file if variant else self.model_path

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read ``folder/manifest.json``.

        Raises
        ------
        ModelError
            If the folder or its manifest is missing.
        ManifestError
            If the manifest is not valid; the message names the key.
        """
        folder = Path(folder)
        path = folder / "manifest.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"{folder}: not a model bundle: it has no manifest.json") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ManifestError(f"{path}: not readable as JSON: {error}") from None
        return cls.from_dict(data, folder)

    @classmethod
    def from_dict(cls, data: Any, folder: str | Path) -> Manifest:
        """Make a manifest of parsed JSON, checking every key this version uses."""
        folder = Path(folder)
        where = folder / "manifest.json"
        reader = _Reader(data, str(where))
        version = reader.take("format", int)
        if version != FORMAT:
            raise ManifestError(
                f"{where}: format {version}; this livecut reads format {FORMAT}. Export it again"
            )
        spec = _Reader(reader.take("input", dict), f"{where}: input")
        output = _Reader(reader.take("output", dict), f"{where}: output")
        manifest = cls(
            name=reader.take("name", str),
            version=reader.take("version", str),
            folder=folder,
            file=reader.file_name("file"),
            sha256=reader.take("sha256", str),
            input_name=spec.take("name", str),
            color=spec.choice("color", ("RGB", "BGR")),
            mean=spec.numbers("mean", 3),
            std=spec.numbers("std", 3),
            sizes_wh=tuple(_size(size, f"{where}: input.sizes_wh") for size in spec.take("sizes_wh", list)),
            multiple_of=spec.take("multiple_of", int),
            fit=spec.choice("fit", ("letterbox", "stretch")),
            pad_value=tuple(int(v) for v in spec.numbers("pad_value", 3)),  # type: ignore[arg-type]
            output_name=output.take("name", str),
            layout=spec.choice("layout", ("NCHW",)),
            dtype=spec.choice("dtype", ("float32",)),
            state=tuple(_state(tensor, f"{where}: state") for tensor in reader.take("state", list)),
            licence=reader.take("licence", str),
            begins_with=_begins_with(data.get("begins_with"), f"{where}: begins_with"),
            ledger=data.get("ledger"),
            variants=_variants(data.get("variants", {}), f"{where}: variants"),
            extra={key: value for key, value in data.items() if key not in _KNOWN},
        )
        if not manifest.sizes_wh:
            raise ManifestError(f"{where}: input.sizes_wh: expected at least one size, got none")
        if any(value == 0 for value in manifest.std):
            raise ManifestError(
                f"{where}: input.std: expected numbers other than 0, got {list(manifest.std)}"
            )
        return manifest

    def size_for(self, frame_wh: tuple[int, int]) -> tuple[int, int]:
        """The input size (width, height) whose aspect is nearest to the frame's."""
        aspect = frame_wh[0] / frame_wh[1]

        def mismatch(size: tuple[int, int]) -> float:
            ratio = size[0] / size[1] / aspect
            return max(ratio, 1 / ratio)

        return min(self.sizes_wh, key=mismatch)

    def check_file(self) -> None:
        """Raise ModelError or ManifestError unless the ONNX file and every variant are there and have the
        hashes that the manifest states."""
        for file, stated in {
            self.file: self.sha256,
            **{v.file: v.sha256 for v in self.variants.values()},
        }.items():
            path = self.folder / file
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
            if digest != stated:
                raise ManifestError(
                    f"{path}: sha256 {digest[:12]}... differs from the manifest's {stated[:12]}...; "
                    "the file is damaged or was replaced: install the bundle again"
                )

    def check_tensors(
        self, inputs: Tensors, outputs: Tensors, size_wh: tuple[int, int] | None = None
    ) -> None:
        """Raise ManifestError unless a model with these tensors is the one this manifest describes.

        Parameters
        ----------
        inputs, outputs : mapping of str to (str, shape)
            Name to dtype (``float32``) and sizes, None where a size is free; as the backend reads them.
        size_wh : (int, int), optional
            The input size the model is about to run at: UsageError if its graph is fixed at another.
        """
        wanted: dict[str, tuple[Shape, Tensors, str]] = {}
        wanted[self.input_name] = ((1, 3, None, None), inputs, "input")
        wanted.update({t.input: (_free(t.shape), inputs, "input") for t in self.state})
        for name, (shape, tensors, kind) in wanted.items():
            self._check_tensor(name, shape, tensors, kind)
        self._check_tensor(self.output_name, (1, 1, None, None), outputs, "output")
        for tensor in self.state:
            self._check_tensor(tensor.output, _free(tensor.shape), outputs, "output")
        if surplus := sorted(set(inputs) - set(wanted)):
            raise ManifestError(
                f"{self.model_path}: has the input {surplus[0]!r}, of which its manifest says nothing; "
                f"the manifest names {', '.join(wanted)}"
            )
        if size_wh is not None:
            height, width = inputs[self.input_name][1][2:]
            fixed = (width or size_wh[0], height or size_wh[1])
            if fixed != size_wh:
                raise UsageError(
                    f"size: {self.name} is fixed at {fixed[0]}x{fixed[1]} and cannot take "
                    f"{size_wh[0]}x{size_wh[1]}; leave the input size out"
                )

    def _check_tensor(self, name: str, shape: Shape, tensors: Tensors, kind: str) -> None:
        if name not in tensors:
            raise ManifestError(
                f"{self.model_path}: the manifest names the {kind} {name!r}, which the model does not have; "
                f"it has {', '.join(tensors) or 'none'}"
            )
        dtype, actual = tensors[name]
        if dtype != "float32":
            raise ManifestError(
                f"{self.model_path}: {kind} {name!r}: expected float32, the model has {dtype}"
            )
        agrees = len(actual) == len(shape) and all(
            want is None or have is None or want == have for want, have in zip(shape, actual, strict=True)
        )
        if not agrees:
            raise ManifestError(
                f"{self.model_path}: {kind} {name!r}: expected shape {_shown(shape)}, "
                f"the model has {_shown(actual)}"
            )

    def validate_against_onnx(self) -> None:
        """Check hash, tensor names, ranks and dtypes against the ONNX file itself. Needs the package onnx.

        Raises
        ------
        ModelError, ManifestError
            On the first disagreement, naming it.
        """
        import onnx

        self.check_file()
        try:
            graph = onnx.load(str(self.model_path), load_external_data=False).graph
        except Exception as error:  # protobuf's own DecodeError, which is not public everywhere
            raise ManifestError(f"{self.model_path}: not readable as ONNX: {error}") from error
        weights = {tensor.name for tensor in graph.initializer}

        def read(values: Any) -> dict[str, tuple[str, Shape]]:
            found = {}
            for value in values:
                kind = value.type.tensor_type
                dtype = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
                shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
                found[value.name] = ("float32" if dtype == "float" else dtype, shape)
            return found

        self.check_tensors(read(v for v in graph.input if v.name not in weights), read(graph.output))


_KNOWN = {
    *("format", "name", "version", "file", "sha256", "input", "output", "state", "licence", "ledger"),
    *("variants", "begins_with"),
}


class _Reader:
    """Takes typed values out of parsed JSON, naming the key that is wrong."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise ManifestError(f"{where}: expected an object, got {type(data).__name__}")
        self.data, self.where = data, where

    def take(self, key: str, kind: type) -> Any:
        if key not in self.data:
            raise ManifestError(f"{self.where}: {key} is missing")
        value = self.data[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ManifestError(f"{self.where}: {key}: expected {kind.__name__}, got {value!r}")
        return value

    def file_name(self, key: str) -> str:
        value = self.take(key, str)
        if Path(value).name != value:
            raise ManifestError(f"{self.where}: {key}: expected a name inside the bundle, got {value!r}")
        return value

    def choice(self, key: str, options: tuple[str, ...]) -> str:
        value = self.take(key, str)
        if value not in options:
            raise ManifestError(f"{self.where}: {key}: expected {' or '.join(options)}, got {value!r}")
        return value

    def numbers(self, key: str, count: int) -> Any:
        values = self.take(key, list)
        if len(values) != count or not all(isinstance(v, (int, float)) for v in values):
            raise ManifestError(f"{self.where}: {key}: expected {count} numbers, got {values!r}")
        return tuple(float(v) for v in values)


def _size(value: Any, where: str) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value)):
        raise ManifestError(f"{where}: expected [width, height], got {value!r}")
    return value[0], value[1]


def _variants(value: Any, where: str) -> dict[str, Variant]:
    found = {}
    for name in _Reader(value, where).data:
        reader = _Reader(value[name], f"{where}: {name}")
        found[name] = Variant(reader.file_name("file"), reader.take("sha256", str))
    return found


def _begins_with(value: Any, where: str) -> str | None:
    if value not in (None, "plate"):
        raise ManifestError(f'{where}: expected "plate" or nothing, got {value!r}')
    return value


def _state(value: Any, where: str) -> StateTensor:
    reader = _Reader(value, where)
    shape = reader.take("shape", list)
    for size in shape:
        _dimension(size, {"width": 64, "height": 64}, where)
    return StateTensor(reader.take("input", str), reader.take("output", str), tuple(shape))


def _dimension(value: int | str, sides: Mapping[str, int], where: str = "state") -> int:
    if isinstance(value, int) and value > 0:
        return value
    side, _, divisor = str(value).partition("/")
    if side in sides and (not divisor or (divisor.isdigit() and int(divisor) > 0)):
        return sides[side] // int(divisor or 1)
    raise ManifestError(f"{where}: shape: expected a positive number or such as 'height/4', got {value!r}")


def _free(shape: tuple[int | str, ...]) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _shown(shape: Shape) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)
