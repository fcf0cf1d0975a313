"""The index of a frame, written into its pixels: two rows of sixteen black or white blocks.

They lie in the top left corner: twenty-four bits of Gray code (neighbouring indices differ in one bit of it,
so a torn strip is rarely valid) and a CRC-8 over them. The blocks scale with the width, so the code survives
resizing and lossy video.
"""

from __future__ import annotations

import numpy as np

INDEX_BITS = 24
"""Indices are taken modulo ``2 ** INDEX_BITS``: 77 hours at 60 frames a second."""
CODE_WIDTH, CODE_HEIGHT = 16, 2
"""Blocks in a row, and rows of blocks."""
_WIDTHS_PER_FRAME = 96  # a block is 1/96 of the frame's width: 20 px at 1920
SMALLEST_WIDTH, SMALLEST_HEIGHT = CODE_WIDTH, CODE_HEIGHT


def _crc8(value: int) -> int:
    # Polynomial 0x07, started at 0xFF: neither an all black nor an all white strip is then a valid code.
    crc = 0xFF
    for shift in (16, 8, 0):
        crc ^= (value >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def strip_wh(width: int) -> tuple[int, int]:
    """Width and height in pixels of the code in a frame of this width."""
    edges, rows = _edges(width)
    return edges[-1], rows[-1]


def _edges(width: int) -> tuple[list[int], list[int]]:
    block = max(width / _WIDTHS_PER_FRAME, 1.0)
    return (
        [round(i * block) for i in range(CODE_WIDTH + 1)],
        [round(i * block) for i in range(CODE_HEIGHT + 1)],
    )


def encode_index(plane: np.ndarray, index: int, *, black: int = 0, white: int = 255) -> None:
    """Write ``index`` into ``plane`` in place.

    Parameters
    ----------
    plane : ndarray of uint8, shape (H, W) or (H, W, C)
        At least 16 x 2 pixels. For planar formats the luma plane, with ``black=16, white=235``.
    index : int
        0 or more; only its low 24 bits are written.

    Raises
    ------
    ValueError
        If the plane is too small for the code.
    """
    height, width = plane.shape[:2]
    columns, rows = _edges(width)
    if width < SMALLEST_WIDTH or height < rows[-1]:
        raise ValueError(f"plane: the code needs {SMALLEST_WIDTH}x{rows[-1]} pixels, got {width}x{height}")
    gray = (index ^ (index >> 1)) & ((1 << INDEX_BITS) - 1)
    bits = gray << 8 | _crc8(gray)
    for i in range(CODE_WIDTH * CODE_HEIGHT):
        row, column = divmod(i, CODE_WIDTH)
        plane[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = (
            white if bits >> (31 - i) & 1 else black
        )


def decode_index(plane: np.ndarray) -> int | None:
    """Read the index written by :func:`encode_index`, or None where no valid code is to be seen.

    ``plane`` is uint8, ``(H, W)`` or ``(H, W, C)``; of a packed frame the first three channels are averaged.
    """
    height, width = plane.shape[:2]
    columns, rows = _edges(width)
    if width < SMALLEST_WIDTH or height < rows[-1]:
        return None
    bits = np.zeros((CODE_HEIGHT, CODE_WIDTH), bool)
    for i in range(CODE_WIDTH * CODE_HEIGHT):
        row, column = divmod(i, CODE_WIDTH)
        block = plane[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        if block.ndim == 3:
            block = block[..., :3]
        # The middle half of the block: the rim is blurred by scalers and codecs.
        inset_y, inset_x = block.shape[0] // 4, block.shape[1] // 4
        middle = block[inset_y : block.shape[0] - inset_y, inset_x : block.shape[1] - inset_x]
        bits[row, column] = middle.mean() > 127
    return decode_bits(bits)


def decode_bits(white: np.ndarray) -> int | None:
    """The index of a code of which each block is known to be white or black; None if it is not valid.

    ``white`` is bool, ``(CODE_HEIGHT, CODE_WIDTH)``.
    """
    bits = int.from_bytes(np.packbits(white).tobytes(), "big")
    gray, crc = bits >> 8, bits & 0xFF
    if _crc8(gray) != crc:
        return None
    index = 0
    while gray:
        index ^= gray
        gray >>= 1
    return index
