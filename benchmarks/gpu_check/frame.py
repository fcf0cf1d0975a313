"""A whole frame on the GPU: copy in, preprocess, engine, refine and composite, copy out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np

from livecut.engine.backends.lanes import DeviceStates, Program
from livecut.engine.cuda import Device, Graph, Module
from livecut.engine.errors import BackendError
from livecut.engine.manifest import Manifest
from livecut.kernels import fit
from livecut.kernels.cuda import (
    Launch,
    Planes,
    picture_bytes,
    preprocess_launch,
    refine_launches,
    work_bytes,
)


class FramePath:
    """All that one frame in flight needs, from page-locked memory to page-locked memory.

    Parameters
    ----------
    device : Device
        Active on the calling thread, as for every method.
    module : Module
        The CUDA kernels, loaded.
    make_program : callable
        Makes an engine's program.
    manifest : Manifest
    size_wh, frame_wh : (int, int)
        Of the network's input and of the frame.
    format, output : str
        Of the frame and of what is made of it.
    background : (r, g, b), optional
        For composited outputs.
    states : DeviceStates, optional
        Of a model with state: shared by the paths of one stream.
    captured : bool
        Whether to capture a graph at all.
    """

    def __init__(
        self,
        device: Device,
        module: Module,
        make_program: Callable[[], Program],
        manifest: Manifest,
        size_wh: tuple[int, int],
        frame_wh: tuple[int, int],
        *,
        format: str = "BGR",
        output: str = "BGR",
        background: tuple[int, int, int] | None = (0, 177, 64),
        states: DeviceStates | None = None,
        captured: bool = True,
    ) -> None:
        self._states, self._held = states, ExitStack()
        self._turn = 0
        self.graphs: list[Graph] = []
        self.why_no_graph = ""
        self.in_flight = False
        geometry = fit(frame_wh, size_wh, manifest.fit)
        width, height = size_wh
        try:
            self.stream = self._keep(device.stream())
            self.done, self.engine_done = self._keep(device.event()), self._keep(device.event())
            self.frame = device.page_locked((picture_bytes(format, frame_wh),), np.uint8)
            self.out = device.page_locked((picture_bytes(output, frame_wh),), np.uint8)
            self._frame_at, self._out_at, inputs, alpha, small, work = (
                self._keep(device.malloc(count)).pointer
                for count in (
                    self.frame.nbytes, self.out.nbytes, 12 * width * height, 4 * width * height,
                    3 * width * height, work_bytes(geometry.roi[2:]),
                )
            )  # fmt: skip
            self.input_at, self.alpha_at = inputs, alpha
            self.program = self._keep(make_program())
            self.program.bind(manifest.input_name, inputs)
            self.program.bind(manifest.output_name, alpha)
            frame = Planes.packed(self._frame_at, format, frame_wh)
            pre = preprocess_launch(
                frame, format=format, geometry=geometry, mean=manifest.mean, std=manifest.std,
                order=manifest.color, pad_value=manifest.pad_value, out=inputs, small=small,
            )  # fmt: skip
            post = refine_launches(
                frame, alpha, format=format, geometry=geometry, output=output, small=small, work=work,
                out=Planes.packed(self._out_at, output, frame_wh), background=background,
            )  # fmt: skip
            self.launches = (pre, *post)
            self._kernels = {each.kernel: module.kernel(each.kernel) for each in self.launches}
            self._warm_up()
            if captured:
                self._capture()
        except BaseException:
            self._held.close()
            raise

    def _keep(self, resource: Any) -> Any:
        self._held.callback(resource.free)
        return resource

    # -- pieces, each of which only queues

    def copy_in(self) -> None:
        """The frame to the device."""
        self.stream.copy_in(self._frame_at, self.frame)

    def _launch(self, launches: Iterable[Launch]) -> None:
        for each in launches:
            kernel = self._kernels[each.kernel]
            self.stream.launch(kernel, each.grid, each.block, each.arguments, each.shared_bytes)

    def before(self) -> None:
        """Preprocess."""
        self._launch(self.launches[:1])

    def engine(self) -> None:
        """The network."""
        self.program.enqueue(self.stream)

    def after(self) -> None:
        """Refine, decontaminate, composite."""
        self._launch(self.launches[1:])

    def copy_out(self) -> None:
        """The output to the host."""
        self.stream.copy_out(self.out, self._out_at)

    def _core(self) -> None:
        self.before()
        self.engine()
        self.after()

    # -- graphs

    def _warm_up(self) -> None:
        """Engines put work off until their first run, which no graph may hold."""
        if self._states is not None:
            self._states.bind(self.program, 2)
        self.copy_in()
        self._core()
        self.copy_out()
        self.stream.synchronize()

    def _capture(self) -> None:
        self.why_no_graph = self.program.why_not_captured
        if self.why_no_graph:
            return
        try:
            for turn in range(1 if self._states is None else 2):
                if self._states is not None:
                    self._states.bind(self.program, turn)
                self.stream.begin_capture()
                if self._states is None:
                    self.copy_in()
                self._core()
                if self._states is None:
                    self.copy_out()
                self.graphs.append(self._keep(self.stream.end_capture()))
        except BackendError as error:
            self.why_no_graph, self.graphs = str(error), []
            self.stream.synchronize()

    @property
    def how(self) -> str:
        """How a frame is queued, in words."""
        if not self.graphs:
            return f"stream launches ({self.why_no_graph or 'not captured'})"
        beside = "" if self._states is None else ", copies beside it"
        return f"one graph of {self.graphs[0].nodes} nodes{beside}"

    # -- frames

    def submit(self, *, by_graph: bool = True, turn: int = 0, after: FramePath | None = None) -> None:
        """Queue a whole frame. With state, it reads set ``turn`` once the engine of ``after`` is done."""
        assert not self.in_flight, "a frame was submitted before the one before was collected"
        self.in_flight = True
        if self._states is None and by_graph and self.graphs:
            self.graphs[0].launch(self.stream)
        else:
            self.copy_in()
            if after is not None and after is not self:
                self.stream.wait(after.engine_done)
            if by_graph and self.graphs:
                self.graphs[turn].launch(self.stream)
            else:
                if self._states is not None:
                    self._states.bind(self.program, turn)
                self._core()
            self.stream.record(self.engine_done)
            self.copy_out()
        self.stream.record(self.done)

    def collect(self) -> None:
        """Wait for it: ``out`` may then be read and ``frame`` written."""
        if self.in_flight:
            self.done.synchronize()
            self.in_flight = False

    def free(self) -> None:
        """Wait for what is queued and give everything back."""
        try:
            self.stream.synchronize()
        finally:
            self._held.close()


class Paths:
    """Several frames of one stream in flight, in turn."""

    def __init__(
        self, device: Device, manifest: Manifest, size_wh: tuple[int, int], depth: int, **rest: Any
    ) -> None:
        self.states: DeviceStates | None = None
        self.paths: list[FramePath] = []
        self._count = 0
        try:
            if manifest.state:
                tensors = {each.input: (each.output, each.shape_for(size_wh)) for each in manifest.state}
                self.states = DeviceStates(device, tensors)
            for _ in range(depth):
                path = FramePath(device, manifest=manifest, size_wh=size_wh, states=self.states, **rest)
                self.paths.append(path)
            if self.states is not None:
                self.states.clear(self.paths[0].stream, 0)
                self.paths[0].stream.synchronize()
        except BaseException:
            self.free()
            raise

    def next(self, *, by_graph: bool = True) -> FramePath:
        """Submit one more frame, once the path it takes is free; the path."""
        path = self.paths[self._count % len(self.paths)]
        before = self.paths[(self._count - 1) % len(self.paths)] if self._count else None
        path.collect()
        path.submit(by_graph=by_graph, turn=self._count % 2, after=before)
        self._count += 1
        return path

    def drain(self) -> None:
        """Wait for every frame in flight."""
        for path in self.paths:
            path.collect()

    def free(self) -> None:
        """Give everything back."""
        for path in self.paths:
            path.free()
        self.paths.clear()
        if self.states is not None:
            self.states.free()
