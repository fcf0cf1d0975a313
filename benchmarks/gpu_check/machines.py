"""Where the CUDA kernels are checked: emulated in this process, or on a device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from livecut.kernels.cuda import KERNELS, Launch, emulate

ALIGNMENT = 256
GUARD = 64
"""Bytes around each block, which nobody may write."""
FILL = 0xCD


class WroteOutside(Exception):
    """A kernel wrote where it should not have."""


class Machine(Protocol):
    """Memory, and something that runs launches on it."""

    def take(self, nbytes: int) -> int:
        """The address of a new block, aligned to 256 bytes and full of rubbish."""
        ...

    def write(self, address: int, data: np.ndarray) -> None:
        """Copy an array's bytes there."""
        ...

    def read(self, address: int, nbytes: int) -> np.ndarray:
        """Bytes from there."""
        ...

    def run(self, launches: Iterable[Launch]) -> None:
        """Run launches in order, to the end."""
        ...

    def free(self) -> None:
        """Give every block back."""
        ...


class HostMachine:
    """The emulated kernels on memory of this process, with guards around every block."""

    def __init__(self, *, reverse: bool = False) -> None:
        self._reverse = reverse
        self._blocks: dict[int, tuple[np.ndarray, int, int]] = {}

    def take(self, nbytes: int) -> int:
        raw = np.full(nbytes + 2 * GUARD + ALIGNMENT, FILL, np.uint8)
        start = GUARD + -(raw.ctypes.data + GUARD) % ALIGNMENT
        self._blocks[raw.ctypes.data + start] = (raw, start, nbytes)
        return raw.ctypes.data + start

    def _bytes(self, address: int, nbytes: int) -> np.ndarray:
        for base, (raw, start, held) in self._blocks.items():
            if base <= address and address + nbytes <= base + held:
                return raw[start + address - base :][:nbytes]
        raise ValueError(f"expected {nbytes} bytes of one block at {address:#x}")

    def write(self, address: int, data: np.ndarray) -> None:
        self._bytes(address, data.nbytes)[:] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)

    def read(self, address: int, nbytes: int) -> np.ndarray:
        return self._bytes(address, nbytes).copy()

    def run(self, launches: Iterable[Launch]) -> None:
        emulate.run(launches, reverse=self._reverse)
        for raw, start, nbytes in self._blocks.values():
            if (raw[:start] != FILL).any() or (raw[start + nbytes :] != FILL).any():
                raise WroteOutside(f"a kernel wrote outside a block of {nbytes} bytes")

    def free(self) -> None:
        self._blocks.clear()


class DeviceMachine:
    """A CUDA device of `livecut.engine.cuda`, or the fake one, with the module loaded; guarded, too."""

    def __init__(self, device: Any, image: bytes) -> None:
        self._device = device
        self._stream = device.stream()
        self._module = device.load_module(image)
        self._kernels = {name: self._module.kernel(name) for name in KERNELS}
        self.ran: set[str] = set()  # names of the kernels that were launched
        self._blocks: list[tuple[Any, int]] = []

    def take(self, nbytes: int) -> int:
        memory = self._device.malloc(nbytes + 2 * ALIGNMENT)  # a guard as wide keeps the block aligned
        self._blocks.append((memory, nbytes))
        self._stream.fill(memory.pointer, FILL, memory.nbytes)
        return memory.pointer + ALIGNMENT

    def write(self, address: int, data: np.ndarray) -> None:
        staged = self._device.page_locked((data.nbytes,), np.uint8)
        staged[:] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        self._stream.copy_in(address, staged)
        self._stream.synchronize()

    def read(self, address: int, nbytes: int) -> np.ndarray:
        staged = self._device.page_locked((nbytes,), np.uint8)
        self._stream.copy_out(staged, address)
        self._stream.synchronize()
        return np.array(staged)

    def run(self, launches: Iterable[Launch]) -> None:
        for each in launches:
            kernel = self._kernels[each.kernel]
            self.ran.add(each.kernel)
            self._stream.launch(kernel, each.grid, each.block, each.arguments, each.shared_bytes)
        guards = self._device.page_locked((len(self._blocks), 2, ALIGNMENT), np.uint8)
        for (before, after), (memory, nbytes) in zip(guards, self._blocks, strict=True):
            self._stream.copy_out(before, memory.pointer)
            self._stream.copy_out(after, memory.pointer + ALIGNMENT + nbytes)
        self._stream.synchronize()
        for guard, (_, nbytes) in zip(guards, self._blocks, strict=True):
            if (guard != FILL).any():
                raise WroteOutside(f"a kernel wrote outside a block of {nbytes} bytes")

    def free(self) -> None:
        for memory, _ in self._blocks:
            memory.free()
        self._blocks.clear()

    def close(self) -> None:
        """Give the stream and the module back as well."""
        self.free()
        self._stream.free()
        self._module.unload()
