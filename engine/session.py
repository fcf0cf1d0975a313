"""A session: one model, one stream. It turns frames into mattes and holds what the model remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels
from . import registry, whole_frame
from .alpha import check_alpha
from .backends import Backend, BackendInfo, select_backend
from .backends.base import PRECISIONS
from .buffers import Slot, aligned_zeros
from .compositor import Compositor
from .errors import BackendError, UsageError
from .frame import Frame, as_frame
from .manifest import Manifest
from .matte import Matte
from .opened import Opened, for_stills
from .plate import open_plate
from .threads import available_cpus

MOST_INPUT_PIXELS = 4096 * 4096
"""More would need tens of gigabytes; a mistyped size must not take the machine down."""
MOST_THREADS = 8
"""Default at most: for networks of a GMAC, more threads spend longer meeting each other than they save."""


class Session:
    """One model on one backend, for one stream of frames or any number of pictures.

    Not to be shared between threads, except that ``preprocess``, ``submit`` and ``collect`` with
    ``postprocess`` of different slots may run at the same time on one thread each, in the order of the
    frames: so the pipeline does.

    Parameters
    ----------
    model : str or path
        Name of a bundle, or its folder.
    backend : str or callable
        ``auto``, or one of ``backends.NAMES``; or anything that makes a ``Backend`` when called.
    precision : str
        ``auto`` (the fastest the device computes natively), ``fp32``, ``bf16``, ``fp16``, ``int8``. Never
        replaced in silence.
    threads : int, optional
        For the network and for the kernels; default: the cores this process may use, cgroup quota included,
        eight at most.
    size_wh : (int, int), optional
        Input size of the network; default: of the model's sizes the one nearest to the frame's aspect.
    stills : bool
        Single pictures are to come: ``auto`` then leaves out a model's int8 variant, which takes longer to
        compile than it saves but in streams.
    temporal : bool
        Smooth the alpha over time: for video, not for unrelated pictures.
    refine, decontaminate : bool
        Guided edges, and foreground colour freed of the background's.
    plate : path or ndarray of uint8, shape (H, W, 3) RGB, optional
        The clean plate, for a model that begins with one: the place as the same camera sees it, empty.
    on_gpu : bool, optional
        True: on a GPU from the first frame to the last, or an error. False: ``auto`` takes a CPU. By default
        a GPU where one can be used; the CPU goes on, and says so, where it cannot any more.
    post : str
        Where a stream's full-resolution work is done: ``cpu``, ``gpu``, or ``auto``, whichever is measured to
        be faster at its start. Single pictures are done on the CPU.
    rebuild : bool
        Whether a TensorRT engine that is missing or does not fit is built, in the background.

    Raises
    ------
    ModelError, ManifestError
        If the model is unknown, damaged or not what its manifest says.
    UsageError, DeviceUnavailable
        If the backend or precision does not exist, or not here.
    """

    def __init__(
        self,
        model: str | Path = registry.DEFAULT_MODEL,
        *,
        backend: str | Callable[[], Backend] = "auto",
        precision: str = "auto",
        threads: int | None = None,
        size_wh: tuple[int, int] | None = None,
        stills: bool = False,
        temporal: bool = False,
        refine: bool = True,
        decontaminate: bool = True,
        plate: str | Path | np.ndarray | None = None,
        on_gpu: bool | None = None,
        post: str = "auto",
        rebuild: bool = True,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
        if post not in whole_frame.PLACES:
            raise UsageError(f"post: expected one of {', '.join(whole_frame.PLACES)}, got {post!r}")
        if threads is not None and threads < 1:
            raise UsageError(f"threads: expected at least 1, got {threads}")
        self.manifest: Manifest = registry.load_manifest(model)
        self.size_wh = _checked_size(size_wh, self.manifest)
        self.precision, self.refine, self.decontaminate = precision, refine, decontaminate
        self.threads = threads or min(available_cpus(), MOST_THREADS)
        if isinstance(backend, str):
            make, reason = select_backend(backend, on_gpu=on_gpu, rebuild=rebuild)
        else:
            make, reason = backend, "given by the caller"
        if stills and precision == "auto":
            self.manifest, more = for_stills(self.manifest)
            reason += more
        self.temporal, self.post = temporal, post
        self._whole: whole_frame.WholeFrames | None = None
        self._left: whole_frame.WholeFrames | None = None
        """What the stream's frames were done in before the GPU failed them."""
        self._submitting = threading.RLock()
        """A frame that the GPU failed is done again by whoever waited for it, while others are submitted."""
        self._plate = open_plate(plate, self.manifest, self.threads)
        self._opened = Opened(
            self.manifest,
            make,
            reason,
            precision=precision,
            threads=self.threads,
            prime=None if self._plate is None else self._plate.first_state,
        )
        self._smoother: kernels.TemporalSmoother | None = None
        self._smoothed_wh = (0, 0)
        self._state: Any = None
        self._state_of: Backend | None = None
        self._slot: Slot | None = None
        self._compositors: dict[str, Compositor] = {}

    # -- what runs

    @property
    def info(self) -> BackendInfo:
        """What runs, where, at which precision, on how many threads: as the runtime says. Opens the
        backend."""
        engine = self._opened.first()
        return (engine or self._opened.at(self.size_wh or self.manifest.sizes_wh[0])).info

    @property
    def reason(self) -> str:
        """Why it is this backend, in a few words."""
        return self._opened.reason

    @reason.setter
    def reason(self, words: str) -> None:
        self._opened.reason = words

    def warm_up(self, frame_wh: tuple[int, int], compositor: Compositor | None = None) -> BackendInfo:
        """Compile for frames of this size and run once, so that the first frame is not a slow one. With the
        ``compositor`` of a stream, also settle where its full-resolution work is done (``post``)."""
        engine = self._opened.at(self.input_size(frame_wh))
        engine.warm_up()
        if compositor is not None:
            self._left = None
            self._whole = whole_frame.choose(self, engine, compositor, frame_wh, self._whole)
        return engine.info

    def input_size(self, frame_wh: tuple[int, int]) -> tuple[int, int]:
        """The network's input size (width, height) for frames of this size."""
        return self.size_wh or self.manifest.size_for(frame_wh)

    # -- the three stages of a frame

    def preprocess(self, frame: Frame, slot: Slot) -> None:
        """Fill the network's input and the small guide of ``slot`` from ``frame``; ``slot`` keeps the frame.

        Allocates only when the frame's size differs from that of the slot's last one.
        """
        if slot.in_flight:
            self.collect(slot)  # a frame that was given up: its buffer is the device's until then
        if slot.whole is not None:
            slot.whole.let_go(slot)
        slot.whole = self._whole if self._whole is not None and self._whole.takes(frame) else None
        if slot.whole is not None:
            try:
                slot.whole.preprocess(frame, slot)
                return
            except BackendError as error:
                self._leave_whole(slot, frame, error)
        elif self._whole is None and slot.lane is not None:
            slot.lane = slot.recycled = None  # page-locked memory, of whole frames that were
        frame_wh = (frame.width, frame.height)
        if slot.frame_wh != frame_wh or slot.buffer is None or slot.engine not in self._opened:
            self._fit_slot(slot, frame_wh)
        manifest, out = self.manifest, slot.buffer.input  # type: ignore[union-attr]
        kernels.preprocess(
            frame.planes, format=frame.format, matrix=frame.matrix, full_range=frame.full_range,
            geometry=slot.geometry, mean=manifest.mean, std=manifest.std, order=manifest.color,
            pad_value=manifest.pad_value, out=out, small=slot.small, threads=self.threads,
        )  # fmt: skip
        slot.frame = frame

    def _fit_slot(self, slot: Slot, frame_wh: tuple[int, int]) -> None:
        if self._plate is not None:
            self._plate.check(frame_wh)
        input_wh = self.input_size(frame_wh)
        engine = self._opened.at(input_wh)
        slot.geometry = kernels.fit(frame_wh, input_wh, self.manifest.fit)
        if slot.engine is not engine or slot.buffer is None:
            slot.buffer = engine.new_buffer()
            slot.small = aligned_zeros((input_wh[1], input_wh[0], 3), np.uint8)
            slot.engine = engine
        slot.frame_wh = frame_wh

    def infer(self, slot: Slot) -> None:
        """Run the network on ``slot``, after ``preprocess`` and in the order of the frames."""
        self.submit(slot)
        self.collect(slot)

    def admit(self) -> bool:
        """Wait for this stream's turn on a device that it shares (see ``streams``); whether it shares one."""
        engine = self._state_of
        return engine is not None and engine.admit()

    def withdraw(self) -> None:
        """Give back the turn of ``admit``: its frame will not be submitted."""
        if self._state_of is not None:
            self._state_of.withdraw()

    def submit(self, slot: Slot) -> None:
        """Start the network on ``slot``, after ``preprocess`` and in the order of the frames.

        On a GPU this returns at once, and frames may be submitted before earlier ones are collected. On a CPU
        the work is done here.
        """
        engine = slot.engine
        with self._submitting, engine.thread_context():
            if slot.whole is not None:
                slot.in_flight = True
                slot.whole.submit(slot)
                return
            if self._state_of is not engine:
                self.withdraw()  # the turn was on the engine of another size
                self._state, self._state_of = engine.begin(), engine
            self._state = engine.submit(slot.buffer, self._state)
        slot.in_flight = True

    def collect(self, slot: Slot) -> None:
        """Wait until the alpha of a submitted ``slot`` can be read; nothing for one that was not."""
        if slot.in_flight:
            slot.in_flight = False
            with slot.engine.thread_context():
                if slot.whole is not None:
                    slot.whole.collect(slot)
                else:
                    slot.engine.collect(slot.buffer)

    def give_up(self, slot: Slot) -> None:
        """Let go of a frame that nobody will look at: its turn and its buffer are then free for others."""
        if slot.in_flight:
            slot.in_flight = False
            with suppress(BackendError), slot.engine.thread_context():
                slot.whole.give_up(slot) if slot.whole else slot.engine.collect(slot.buffer)
        if slot.whole is not None:
            slot.whole.let_go(slot)
        slot.frame = None

    def postprocess(self, slot: Slot, compositor: Compositor, out: Frame | None = None) -> Frame:
        """Check and smooth the slot's alpha, and compose the output frame from it.

        Parameters
        ----------
        slot : Slot
            After ``infer``, in the order of the frames.
        compositor : Compositor
            Makes the output.
        out : Frame, optional
            An earlier output to write into; a new one is made where it does not fit or is None.

        Raises
        ------
        BackendError
            If the network returned NaN or infinity.
        ModelError
            If its values lie outside 0..1.
        """
        if slot.whole is not None:
            return slot.whole.finish(slot, out)
        if self._left is not None:
            out = self._left.without(out)
        check_alpha(slot.buffer.alpha, slot, self.manifest.name)  # type: ignore[union-attr]
        if self.temporal:
            self._smooth(slot)
        return compositor.compose(
            slot, out, refine=self.refine, decontaminate=self.decontaminate, threads=self.threads
        )

    def _smooth(self, slot: Slot) -> None:
        if self._smoother is None or self._smoothed_wh != slot.geometry.input_wh:
            self._smoothed_wh = slot.geometry.input_wh
            self._smoother = kernels.TemporalSmoother(self._smoothed_wh)
        alpha = slot.buffer.alpha  # type: ignore[union-attr]
        self._smoother.smooth(alpha, slot.small, threads=self.threads)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Forget the previous frames: the next one is the first of a stream. Not with a frame in flight."""
        self.withdraw()
        self._state = self._state_of = None
        if self._whole is not None:
            self._whole.reset()
        if self._smoother is not None:
            self._smoother.reset()

    @contextmanager
    def using(self, whole: whole_frame.WholeFrames | None) -> Iterator[None]:
        """Do frames in ``whole``, or with None on the CPU around the network, for a ``with`` block."""
        before, self._whole = self._whole, whole
        try:
            yield
        finally:
            self._whole = before

    def do_again(self, slot: Slot, error: BackendError) -> None:
        """The device failed a whole frame: whoever serves the model now does it, and those to come."""
        self._leave_whole(slot, slot.frame, error)
        self.preprocess(slot.frame, slot)
        self.infer(slot)

    def _leave_whole(self, slot: Slot, frame: Frame, error: BackendError) -> None:
        slot.whole.leave(slot, frame, error)
        if self._whole is slot.whole:
            self._whole, self._left = None, slot.whole
        slot.whole = None

    # -- single pictures

    def matte(self, image: np.ndarray | Frame, *, foreground: bool = True) -> Matte:
        """Cut out one picture of any size, or the next frame of a stream.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; or Frame
            An input alpha is multiplied into the result.
        foreground : bool
            Whether to compute the product's colour as well.

        Raises
        ------
        TypeError, ValueError
            If ``image`` is not such an array.
        """
        result = self._run(as_frame(image), "RGBA" if foreground else "ALPHA").planes[0]
        alpha = np.ascontiguousarray(result[..., 3]) if foreground else result
        return Matte(alpha, result[..., :3] if foreground else None, kernels.bounds(alpha))

    def cut(self, image: np.ndarray | Frame) -> np.ndarray:
        """Cut out one picture: uint8 ``(H, W, 4)`` RGBA, straight alpha. ``image`` as in ``matte``."""
        return self._run(as_frame(image), "RGBA").planes[0]

    def _run(self, frame: Frame, output: str) -> Frame:
        if self._slot is None:
            self._slot = Slot()
        slot = self._slot
        compositor = self._compositors.get(output)
        if compositor is None:
            compositor = self._compositors[output] = Compositor(output)
        with self.using(None):
            self.preprocess(frame, slot)
        self.infer(slot)
        try:
            return self.postprocess(slot, compositor)
        finally:
            slot.frame = None  # pictures can be large: do not keep the last one alive

    # -- end

    def close(self) -> None:
        """Free the backend; safe to call twice."""
        self._state = self._state_of = self._slot = self._whole = self._left = None
        self._opened.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _checked_size(size_wh: tuple[int, int] | None, manifest: Manifest) -> tuple[int, int] | None:
    if size_wh is None:
        return None
    step, (width, height) = manifest.multiple_of, size_wh
    if min(width, height) < step or width % step or height % step:
        raise UsageError(f"size: {manifest.name} takes multiples of {step}, got {width}x{height}")
    if width * height > MOST_INPUT_PIXELS:
        raise UsageError(
            f"size: {width}x{height} is {width * height / 1e6:.0f} megapixels; a network's input has at most "
            f"{MOST_INPUT_PIXELS / 1e6:.0f}"
        )
    return width, height
