"""Whole frames on the device: the picture goes up, the finished picture comes down, the rest happens there.

For GPUs whose copies and kernels beat the CPU's kernels: measured, not assumed (see ``whole_frame``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...kernels import Geometry
from ...kernels.cuda import (
    KERNELS,
    Launch,
    Planes,
    memory_bytes,
    picture_bytes,
    plane_shapes,
    preprocess_launch,
    refine_launches,
    smooth_launches,
    work_bytes,
)
from ..cuda import Device, DeviceMemory, Module
from ..cuda.device import Pointer
from ..manifest import Manifest
from .lanes import DeviceStates, Lane, Program

SEEN_BYTES = 256
"""Of the smoothing's memory: cleared before the first frame of a stream."""


@dataclass(frozen=True)
class FrameWork:
    """What is done to a frame; another makes other lanes."""

    format: str
    matrix: str
    full_range: bool
    geometry: Geometry
    output: str
    background: tuple[int, int, int] | str | None
    """A colour, ``blur``, ``picture`` (one that stays), or None for outputs that are not composited."""
    refine: bool
    decontaminate: bool
    smooth: bool

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Size of the frame, and of what is made of it."""
        return self.geometry.frame_wh


class StreamMemory:
    """What one stream keeps on the device between frames, and what all its frames are laid over."""

    def __init__(self, device: Device, work: FrameWork, picture: np.ndarray | None) -> None:
        """``picture``: a background uint8 ``(H, W, 3)`` in the channel order of the output."""
        self.work = work
        self.smoothing: DeviceMemory | None = None
        self.background: DeviceMemory | None = None
        try:
            if work.smooth:
                self.smoothing = device.malloc(memory_bytes(work.geometry.input_wh))
            if picture is not None:
                self.background = device.malloc(picture.nbytes)
                staged = device.page_locked(picture.shape, np.uint8)
                staged[...] = picture
                stream = device.stream()
                try:
                    stream.copy_in(self.background.pointer, staged)
                    stream.synchronize()
                finally:
                    stream.free()
        except BaseException:
            self.free()
            raise

    def free(self) -> None:
        """Give it back, once no lane uses it."""
        for memory in (self.smoothing, self.background):
            if memory is not None:
                memory.free()
        self.smoothing = self.background = None


class Picture:
    """A picture in page-locked memory: one block to copy, seen as planes."""

    def __init__(self, device: Device, format: str, size_wh: tuple[int, int]) -> None:
        self.block = device.page_locked((picture_bytes(format, size_wh),), np.uint8)
        planes, start = [], 0
        for shape in plane_shapes(format, size_wh):
            count = int(np.prod(shape))
            planes.append(self.block[start : start + count].reshape(shape))
            start += count
        self.planes = tuple(planes)
        """uint8 arrays, as ``Frame.planes``."""

    def holds(self, planes: Sequence[np.ndarray]) -> bool:
        """Whether ``planes`` are this memory: then there is nothing to copy."""
        return planes[0].ctypes.data == self.block.ctypes.data

    def fill(self, planes: Sequence[np.ndarray]) -> None:
        """Copy ``planes`` here, unless they are here already."""
        if not self.holds(planes):
            for mine, theirs in zip(self.planes, planes, strict=True):
                np.copyto(mine, theirs)


class FrameLane(Lane):
    """One whole frame in flight: fill ``frame``, ``submit``, ``collect``, ``exchange`` what was made of it.

    Parameters
    ----------
    device, names, shapes, make_program, states
        As for ``Lane``.
    module : Module
        The CUDA kernels, loaded.
    manifest : Manifest
    memory : StreamMemory
        Of the stream; says what the work is.
    """

    def __init__(
        self,
        device: Device,
        names: tuple[str, str],
        shapes: Any,
        make_program: Callable[[], Program],
        states: DeviceStates | None,
        *,
        module: Module,
        manifest: Manifest,
        memory: StreamMemory,
    ) -> None:
        self._manifest, self.memory, self.device = manifest, memory, device
        self._kernels = {name: module.kernel(name) for name in KERNELS}
        self.begins = False
        """Whether the next frame is the first that the smoothing sees."""
        super().__init__(device, names, shapes, make_program, states)

    # On a GPU of its own the finished picture goes wherever the last one that left the lane was replaced by.
    _graph_copies_out = False

    @property
    def is_chained(self) -> bool:
        return self._states is not None or self.memory.work.smooth

    def _allocate(self, device: Device, shapes: Sequence[tuple[int, ...]]) -> tuple[Pointer, Pointer]:
        work = self.memory.work
        width, height = work.geometry.input_wh
        cells = width * height
        self.frame = Picture(device, work.format, work.frame_wh)
        self.finished = Picture(device, work.output, work.frame_wh)
        self._status = device.page_locked((1,), np.uint32)
        self._frame_at, self._out_at = self._place(device, self.frame.block), self._on_device(device)
        self._status_at = self._place(device, self._status)
        counts = {"input": 12 * cells, "alpha": 4 * cells, "small": 3 * cells, "smoothed": 4 * cells}
        at = {name: self._keep(device.malloc(count)).pointer for name, count in counts.items()}
        scratch = self._keep(device.malloc(work_bytes(work.geometry.roi[2:]))).pointer
        self._launches(at, scratch)
        return at["input"], at["alpha"]

    def free(self) -> None:
        try:
            super().free()
        finally:
            self._kernels = {}  # pycuda's functions keep their module loaded

    def _on_device(self, device: Device) -> Pointer:
        """Where the finished picture is made. On an integrated GPU too, and copied from there: the memory
        that it leaves the lane in changes, and launches hold addresses."""
        return self._keep(device.malloc(self.finished.block.nbytes)).pointer

    def _launches(self, at: dict[str, Pointer], scratch: Pointer) -> None:
        work, manifest, memory = self.memory.work, self._manifest, self.memory
        frame = Planes.packed(self._frame_at, work.format, work.frame_wh)
        matrix, full_range = work.matrix, work.full_range
        self._before = preprocess_launch(
            frame, format=work.format, geometry=work.geometry, mean=manifest.mean, std=manifest.std,
            order=manifest.color, pad_value=manifest.pad_value, out=at["input"], small=at["small"],
            matrix=matrix, full_range=full_range,
        )  # fmt: skip
        self._smooth = partial(
            smooth_launches, at["alpha"], small_wh=work.geometry.input_wh, small=at["small"],
            out=at["smoothed"], status=self._status_at,
        )  # fmt: skip
        background: Any = work.background
        if memory.background is not None:
            order = work.output if work.output != "I420" else "RGB"
            background = Planes.packed(memory.background.pointer, order, work.frame_wh)
        self._after = refine_launches(
            frame, at["smoothed" if work.smooth else "alpha"], format=work.format, geometry=work.geometry,
            output=work.output, out=Planes.packed(self._out_at, work.output, work.frame_wh), work=scratch,
            small=at["small"], background=background, refine=work.refine, decontaminate=work.decontaminate,
            status=self._status_at, matrix=matrix, full_range=full_range,
        )  # fmt: skip

    def _copy_in(self) -> None:
        if self.is_copied:
            self.stream.copy_in(self._frame_at, self.frame.block)

    def _work(self) -> None:
        smoothing = self.memory.smoothing
        self._work_with(self._smooth(memory=smoothing.pointer) if smoothing is not None else ())

    def _work_with(self, smoothing: Iterable[Launch]) -> None:
        self.stream.fill(self._status_at, 0, 4)
        self._launch([self._before])
        self.program.enqueue(self.stream)
        self._launch(smoothing)
        self._launch(self._after)

    def _launch(self, launches: Iterable[Launch]) -> None:
        for each in launches:
            kernel = self._kernels[each.kernel]
            self.stream.launch(kernel, each.grid, each.block, each.arguments, each.shared_bytes)

    def _copy_out(self) -> None:
        self.stream.copy_out(self.finished.block, self._out_at)
        if self.is_copied:
            self.stream.copy_out(self._status, self._status_at)

    def _begin(self, turn: int, is_first: bool) -> None:
        super()._begin(turn, is_first)
        if self.begins and self.memory.smoothing is not None:
            self.stream.fill(self.memory.smoothing.pointer, 0, SEEN_BYTES)
        self.begins = False

    def _first_run(self) -> None:
        """The same on memory of its own: frames of the stream may be in flight, and theirs stays as it is."""
        if not self.memory.work.smooth:
            self._work_with(())
            self.stream.synchronize()
            return
        memory = self.device.malloc(memory_bytes(self.memory.work.geometry.input_wh))
        try:
            self.stream.fill(memory.pointer, 0, memory.nbytes)
            self._work_with(self._smooth(memory=memory.pointer))
        finally:
            self.stream.synchronize()
            memory.free()

    @property
    def status(self) -> int:
        """Bits of ``kernels.cuda``: NOT_FINITE and OUT_OF_RANGE, of the frame last collected."""
        return int(self._status[0])

    def exchange(self, picture: Picture | None) -> Picture:
        """Take the finished picture out; the next is made in ``picture``, or in new memory."""
        finished = self.finished
        work = self.memory.work
        self.finished = picture or Picture(self.device, work.output, work.frame_wh)
        return finished
