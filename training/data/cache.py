"""Pictures decoded once into one file, then read through the page cache by every process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .catalogue import Item
from .find import read_alpha, read_picture
from .outlines import SUFFIX, outlined_mask

MAX_SIDE_PX = 512


@dataclass
class Packed:
    """Decoded items.

    Attributes
    ----------
    items : list of Item
    skipped : list of str
        One line for each item that could not be read.
    """

    items: list[Item]
    skipped: list[str]
    _offsets: list[tuple[int, tuple[int, int, int]]]
    _file: Path

    def __post_init__(self) -> None:
        empty = self._file.stat().st_size == 0  # nothing decoded; an empty file cannot be mapped
        self._data = np.empty(0, np.uint8) if empty else np.memmap(self._file, np.uint8, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels: another process maps the file again."""
        return {name: value for name, value in self.__dict__.items() if name != "_data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 (H, W, 4) RGBA for pairs and cut-outs, (H, W, 3) RGB for the rest. Read-only."""
        offset, shape = self._offsets[index]
        return self._data[offset : offset + int(np.prod(shape))].reshape(shape)


def read_item(item: Item) -> np.ndarray:
    """Decode one item as ``Packed`` holds it, at most ``MAX_SIDE_PX`` on a side.

    Raises
    ------
    ValueError
        If a file does not decode, or picture and mask differ in size or the mask is empty.
    """
    if item.kind == "cutout":
        pixels = cv2.imread(str(item.image), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
            raise ValueError(f"{item.image}: expected a picture with four channels")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    else:
        pixels = read_picture(item.image)
    if item.mask is not None:
        if item.mask.suffix == SUFFIX:
            mask = outlined_mask(item.mask, item.image.name, pixels.shape[1::-1])
        else:
            mask = np.rint(read_alpha(item.mask) * 255).astype(np.uint8)
        if mask.shape != pixels.shape[:2]:
            raise ValueError(f"{item.mask}: mask is {mask.shape[::-1]}, the picture {pixels.shape[1::-1]}")
        pixels = np.dstack([pixels, mask])
    if pixels.shape[2] == 4 and pixels[..., 3].max() < 128:
        raise ValueError(f"{item.mask or item.image}: the mask is empty")
    scale = MAX_SIDE_PX / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return pixels


def pack(items: list[Item], folder: Path) -> Packed:
    """Decode ``items`` into ``folder``, or reuse what an earlier call with the same files left there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / _digest(items)
    index_file, data_file = stem.with_suffix(".json"), stem.with_suffix(".u8")
    if not index_file.is_file():
        _write(items, index_file, data_file)
    index = json.loads(index_file.read_text(encoding="utf-8"))
    offsets = [(offset, tuple(shape)) for _, offset, shape in index["entries"]]
    kept = [items[position] for position, _, _ in index["entries"]]
    return Packed(kept, index["skipped"], offsets, data_file)


def _digest(items: list[Item]) -> str:
    digest = hashlib.sha1(str(MAX_SIDE_PX).encode())
    for item in items:
        for path in (item.image, item.mask):
            if path is not None:
                status = path.stat()
                digest.update(f"{item.kind} {path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _write(items: list[Item], index_file: Path, data_file: Path) -> None:
    entries, skipped, offset = [], [], 0
    partial = data_file.with_suffix(f".{os.getpid()}.part")
    with open(partial, "wb") as stream:
        for position, item in enumerate(items):
            try:
                pixels = read_item(item)
            except ValueError as error:
                skipped.append(str(error))
                continue
            stream.write(np.ascontiguousarray(pixels).tobytes())
            entries.append((position, offset, pixels.shape))
            offset += pixels.size
    os.replace(partial, data_file)
    partial_index = index_file.with_suffix(f".{os.getpid()}.part")
    partial_index.write_text(json.dumps({"entries": entries, "skipped": skipped}), encoding="utf-8")
    os.replace(partial_index, index_file)
