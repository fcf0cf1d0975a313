"""Aligned host memory and planes for every format."""

import numpy as np
import pytest

from livecut.engine.buffers import ALIGNMENT, HostBuffer, aligned_zeros, planes_for


@pytest.mark.parametrize("shape", [(1,), (3, 5), (1, 3, 32, 64), (0, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_zeros_begin_on_a_cache_line(shape, dtype):
    array = aligned_zeros(shape, dtype)
    assert array.ctypes.data % ALIGNMENT == 0 or array.size == 0
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert not array.any()


def test_host_buffer_alpha_is_a_view_of_what_the_backend_writes():
    buffer = HostBuffer((64, 32))
    buffer.alpha_nchw[0, 0, 3, 4] = 0.5
    assert buffer.input.shape == (1, 3, 32, 64)
    assert buffer.alpha.shape == (32, 64)
    assert buffer.alpha[3, 4] == 0.5


def test_host_buffer_takes_its_memory_from_the_allocator_of_the_backend():
    asked = []

    def allocate(shape, dtype):
        asked.append((shape, dtype))
        return aligned_zeros(shape, dtype)

    HostBuffer((64, 32), allocate)
    assert asked == [((1, 3, 32, 64), np.float32), ((1, 1, 32, 64), np.float32)]


@pytest.mark.parametrize(
    ("format", "shapes"),
    [
        ("RGB", [(5, 7, 3)]),
        ("BGR", [(5, 7, 3)]),
        ("RGBA", [(5, 7, 4)]),
        ("BGRA", [(5, 7, 4)]),
        ("ALPHA", [(5, 7)]),
        ("I420", [(5, 7), (3, 4), (3, 4)]),
        ("YUVA420", [(5, 7), (3, 4), (3, 4), (5, 7)]),
        ("NV12", [(5, 7), (3, 4, 2)]),
    ],
)
def test_planes_of_an_odd_size_round_chroma_up(format, shapes):
    assert [plane.shape for plane in planes_for(format, (7, 5))] == shapes


def test_planes_of_an_unknown_format_name_it():
    with pytest.raises(ValueError, match=r"format: expected one of RGB.*got .CMYK."):
        planes_for("CMYK", (2, 2))
