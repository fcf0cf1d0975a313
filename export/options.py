"""What an export is asked for, and how it is written on a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..engine.errors import UsageError

TARGETS = ("onnx", "fp16", "int8", "openvino", "tensorrt")
PRECISIONS = ("fp32", "fp16", "int8")
DEFAULT_PRECISION = {"onnx": "fp32", "fp16": "fp16", "int8": "int8", "openvino": "fp32", "tensorrt": "fp16"}
FLAVOURS = ("openvino", "tensorrt")
GIB = 1 << 30


@dataclass(frozen=True)
class Options:
    """One export: what to make, and for what.

    Raises
    ------
    UsageError
        If the options do not go together.
    """

    target: str = "onnx"
    size_wh: tuple[int, int] | None = None
    """Width and height of the network's input; None keeps the model's own."""
    batch: int = 1
    """Pictures at once; the most of them where ``dynamic``."""
    dynamic: bool = False
    """Free height, width and (up to ``batch``) number of pictures."""
    precision: str = "auto"
    """``fp32``, ``fp16``, ``int8``; ``auto``: as ``DEFAULT_PRECISION`` says."""
    devices: tuple[str, ...] = ()
    """Compute capabilities for TensorRT, such as ``8.6``; empty: of the GPU here."""
    workspace_bytes: int | None = None
    """Memory a TensorRT builder may use; None leaves it to TensorRT."""
    keep: tuple[str, ...] = ()
    """Layers to keep in a higher precision, by name."""
    force: tuple[str, ...] = ()
    """Names of models whose INT8 may be worse than the limits."""
    resume: bool = True
    """Use again what an earlier export left, where its passport says that it is the same."""

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise UsageError(f"--to: expected one of {', '.join(TARGETS)}, got {self.target!r}")
        if self.precision not in ("auto", *PRECISIONS):
            raise UsageError(
                f"--precision: expected auto or one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.batch < 1:
            raise UsageError(f"--batch: expected at least 1, got {self.batch}")
        own = DEFAULT_PRECISION[self.target]
        if self.target in ("onnx", "fp16", "int8") and self.precision not in ("auto", own):
            raise UsageError(
                f"--precision {self.precision}: --to {self.target} is {own}; --precision is for --to "
                "openvino and --to tensorrt"
            )
        if self.devices and self.target not in ("tensorrt", "int8"):
            raise UsageError(f"--device: is for --to tensorrt, not for --to {self.target}")
        if self.workspace_bytes is not None and self.target != "tensorrt":
            raise UsageError(f"--workspace: is for --to tensorrt, not for --to {self.target}")

    @property
    def needs(self) -> str:
        """The precision that is made: ``fp32``, ``fp16`` or ``int8``."""
        return DEFAULT_PRECISION[self.target] if self.precision == "auto" else self.precision

    @property
    def flavour(self) -> str:
        """Whose INT8: ``tensorrt`` where that or a GPU is the target, else ``openvino``."""
        return "tensorrt" if self.target == "tensorrt" or self.devices else "openvino"


def parse_devices(texts: Iterable[str]) -> tuple[str, ...]:
    """``["sm_86,8.9", "sm120"]`` to ``("8.6", "8.9", "12.0")``, each once.

    Raises
    ------
    UsageError
        If one is not a compute capability that exists.
    """
    from ..engine.tensorrt.targets import parse_compute_capabilities

    text = ",".join(texts)
    return parse_compute_capabilities(text) if text else ()


def short_name(capability: str) -> str:
    """``8.6`` to ``sm_86``."""
    return f"sm_{capability.replace('.', '')}"


def parse_workspace(text: str | None) -> int | None:
    """GiB as a number (``4``, ``0.5``), or with a unit (``512MiB``, ``2GiB``), to bytes; UsageError else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MiB|MB|M|GiB|GB|G)?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UsageError(f"--workspace: expected GiB, such as 4 or 512MiB, got {text!r}")
    unit = (1 << 20) if (match[2] or "G").upper().startswith("M") else GIB
    return int(float(match[1]) * unit)
