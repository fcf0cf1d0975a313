"""What values the tensors of an ONNX graph take on real inputs: the basis of FP16 and INT8.

ONNX Runtime on a CPU computes FP16 in FP32, so a result that would overflow on a GPU looks right there. Only
the ranges of the intermediates tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import DeviceUnavailable

if TYPE_CHECKING:
    import onnx

Sample = Mapping[str, np.ndarray]
"""One inference: the name of every graph input to its array."""
Progress = Callable[[str, float], None]
"""Called with the step's name and its share done, 0..1."""
BINS = 4096
MOST_PER_TENSOR = 1 << 17
"""Values of a tensor that enter its histogram, a frame; the extremes are taken over all of them."""


@dataclass
class TensorRange:
    """Everything seen of one float tensor, over all samples."""

    dtype: str = "float32"
    low: float = math.inf
    high: float = -math.inf
    elements: int = 0
    """In the largest array seen."""
    not_finite: int = 0
    """Values that were NaN or infinite; they enter nothing else."""
    limit: float = 0.0
    """The histogram spans ``-limit..limit``; a power of two."""
    histogram: np.ndarray | None = field(default=None, repr=False)
    """int64 ``(BINS,)``."""
    channel_sum: np.ndarray | None = field(default=None, repr=False)
    """float64 ``(C,)``: means of each array over all axes but 1, summed over samples."""
    samples: int = 0

    @property
    def largest(self) -> float:
        """The largest absolute value; 0 where nothing was seen."""
        return max(abs(self.low), abs(self.high)) if self.elements and self.low <= self.high else 0.0

    @property
    def channel_mean(self) -> np.ndarray | None:
        """float64 ``(C,)``: mean of each channel (axis 1); None for tensors of one axis or none."""
        return None if self.channel_sum is None else self.channel_sum / max(self.samples, 1)

    def add(self, values: np.ndarray, *, histogram: bool = False) -> None:
        """Take in one array of floats."""
        self.elements, self.samples = max(self.elements, values.size), self.samples + 1
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = values[np.isfinite(values)]
            self.not_finite += values.size - finite.size
            if not finite.size:
                return
            values, low, high = finite, float(finite.min()), float(finite.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if not histogram:
            return
        if values.ndim >= 2:
            axes = tuple(axis for axis in range(values.ndim) if axis != 1)
            mean = values.mean(axes, dtype=np.float64)
            self.channel_sum = mean if self.channel_sum is None else self.channel_sum + mean
        self._count(values, max(abs(low), abs(high)))

    def _count(self, values: np.ndarray, largest: float) -> None:
        if self.histogram is None:
            self.histogram = np.zeros(BINS, np.int64)
            self.limit = 2.0 ** math.ceil(math.log2(max(largest, 1e-30)))
        while largest > self.limit:  # twice the span: pairs of bins merge into the inner half
            wider = np.zeros(BINS, np.int64)
            wider[BINS // 4 : 3 * BINS // 4] = self.histogram.reshape(-1, 2).sum(1)
            self.histogram, self.limit = wider, self.limit * 2
        flat = values.reshape(-1)[:: max(1, values.size // MOST_PER_TENSOR)]
        index = ((flat + self.limit) * (BINS / (2 * self.limit))).astype(np.int64)
        self.histogram += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)


def collect_ranges(
    model: onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    names: Collection[str] | None = None,
    histograms: bool = False,
    progress: Progress | None = None,
    step: str = "ranges",
) -> dict[str, TensorRange]:
    """Run ``model`` on every sample and watch its float tensors, graph inputs included.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed.
    samples : iterable of mappings
        Name of each graph input to its array.
    names : collection of str, optional
        Which tensors to watch beside the graph's outputs; all by default.
    histograms : bool
        Also count values and channel means: what INT8 needs. Slower.
    progress : callable, optional
        Called with ``step`` and the share done, where ``samples`` has a length.

    Raises
    ------
    DeviceUnavailable
        If onnxruntime is not installed.
    """
    session = open_watched(model, names)
    watched = [output.name for output in session.get_outputs()]
    found: dict[str, TensorRange] = {}
    total = len(samples) if isinstance(samples, Sized) else 0
    for index, sample in enumerate(samples):
        arrays = dict(zip(watched, session.run(watched, dict(sample)), strict=True))
        for name, array in {**sample, **arrays}.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                found.setdefault(name, TensorRange(array.dtype.name)).add(array, histogram=histograms)
        if progress and total:
            progress(step, (index + 1) / total)
    return found


def open_watched(model: onnx.ModelProto, names: Collection[str] | None = None) -> Any:
    """An ONNX Runtime session in which the tensors ``names`` of the main graph (all of them by default) are
    outputs; with all of them, nothing can be fused and nothing is optimised away."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {output.name for output in watched.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in known and (names is None or name in names):
                watched.graph.output.append(onnx.ValueInfoProto(name=name))
                known.add(name)
    plain = import_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_ort(watched.SerializeToString(), level=plain if names is None else None)


def open_ort(model: bytes | str, *, level: Any = None) -> Any:
    """ONNX Runtime on the CPU, its threads asleep between runs; ``model`` is a path or the file's bytes.

    A QDQ graph is computed as it is written: rounded where it says, everything between in float32.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if level is not None:
        options.graph_optimization_level = level
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def import_onnxruntime() -> Any:
    """The package onnxruntime. Raises DeviceUnavailable with the way out where it is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceUnavailable(
            "FP16 and INT8 are proved with onnxruntime, which is not installed: "
            "pip install 'livecut[onnxruntime]'"
        ) from error
    return onnxruntime


def edge_samples(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Inputs nobody films, within the span of the first sample: flat ones, noise, thin lines.

    Inputs of four axes and three channels count as pictures; all else (recurrent state) is as in the sample.
    """
    first = next(iter(samples), None)
    if first is None:
        return
    rng = np.random.default_rng(17)
    pictures = {name: array for name, array in first.items() if array.ndim == 4 and array.shape[1] == 3}
    spans = {name: (float(array.min()), float(array.max())) for name, array in pictures.items()}

    def made(paint: Callable[[tuple[int, ...], float, float], np.ndarray]) -> Sample:
        return {
            **first,
            **{
                name: paint(array.shape, *spans[name]).astype(array.dtype) for name, array in pictures.items()
            },
        }

    def lines(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
        array = np.full(shape, low)
        array[..., ::8, :] = high
        array[..., :, ::8] = high
        return array

    yield made(lambda shape, low, high: np.full(shape, low))
    yield made(lambda shape, low, high: np.full(shape, (low + high) / 2))
    yield made(lambda shape, low, high: np.full(shape, high))
    yield made(lambda shape, low, high: rng.uniform(low, high, shape))
    yield made(lambda shape, low, high: rng.choice([low, high], shape))
    yield made(lines)
