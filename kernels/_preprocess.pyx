"""Compiled side of kernels/preprocess.py. Arguments are trusted: the wrapper has checked them."""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t

from . import _threads

cnp.import_array()

cdef extern from "dispatch.h":
    int lc_simd_level() noexcept nogil

cdef extern from "preprocess.h":
    enum: LC_F32, LC_F16, LC_U8
    cdef struct lc_rows:
        int taps, one
        const int32_t *start
        const int32_t *count
        const uint8_t *exact
        const uint16_t *few
        const uint32_t *many
    cdef struct lc_windows:
        int pixels, tables, pairs
        const int32_t *first
        const int32_t *start
        const int32_t *to
        const uint16_t *pick
        const int16_t *weights
    cdef struct lc_columns:
        int target, taps
        float unit
        const int32_t *start
        const int16_t *few
        const float *many
        lc_windows windows
    cdef struct lc_plane:
        const uint8_t *data
        ptrdiff_t stride
        int row_bytes
    cdef struct lc_preprocess:
        int channels, red_first
        lc_plane planes[3]
        lc_rows rows[2]
        lc_columns columns[2]
        float yuv[6]
        int input_width, input_height, x, y, width, height
        float scale[3]
        float offset[3]
        int source_of[3]
        float pad[3]
        float pad_small[3]
        int dtype
        int nhwc
        void *out
        uint8_t *small
        ptrdiff_t small_stride
    ctypedef void (*lc_parallel_for_fn)(void (*)(void *, int, int) noexcept nogil, void *, int, int) noexcept nogil
    int lc_preprocess_run(const lc_preprocess *, lc_parallel_for_fn, int, int) noexcept nogil

cdef lc_parallel_for_fn parallel_for = <lc_parallel_for_fn> PyCapsule_GetPointer(
    _threads.PARALLEL_FOR, "livecut.parallel_for"
)
LEVELS = ("plain", "avx2", "avx512")[: lc_simd_level() + 1]
cdef int level = lc_simd_level()


def use_level(name):
    """Run at another level of ``LEVELS`` from now on; for tests, which compare the levels in one process."""
    global level
    level = LEVELS.index(name)


cdef class Plan:
    """Everything about a call that does not change from frame to frame: the weight tables and the constants."""

    cdef lc_preprocess job
    cdef object tables  # keeps the arrays alive that job points into

    def __init__(self, tables, *, int channels, bint red_first, input_wh, roi, yuv, scale, offset, source_of, pad,
                 pad_small, dtype, bint nhwc):
        cdef int i
        self.tables = tables
        self.job.channels = channels
        self.job.red_first = red_first
        for i, ((row_start, count, row_weights, one), (target, taps, start, weights, windows)) in enumerate(tables):
            self._set_rows(i, row_start, count, row_weights, one)
            self._set_columns(i, target, taps, start, weights)
            self.job.columns[i].unit = 1 / (16384.0 * one)
            if windows is not None:
                self._set_windows(i, *windows)
        self.job.input_width, self.job.input_height = input_wh
        self.job.x, self.job.y, self.job.width, self.job.height = roi
        for i in range(len(yuv)):
            self.job.yuv[i] = yuv[i]
        for i in range(3):
            self.job.scale[i] = scale[i]
            self.job.offset[i] = offset[i]
            self.job.source_of[i] = source_of[i]
            self.job.pad[i] = pad[i]
            self.job.pad_small[i] = pad_small[i]
        self.job.dtype = LC_F32 if dtype == "float32" else LC_F16 if dtype == "float16" else LC_U8
        self.job.nhwc = nhwc

    cdef _set_rows(self, int i, const int32_t[::1] start, const int32_t[::1] count, weights, int one):
        cdef const uint8_t[:, ::1] exact
        cdef const uint16_t[:, ::1] few
        cdef const uint32_t[:, ::1] many
        self.job.rows[i].taps = weights.shape[1]
        self.job.rows[i].start = &start[0]
        self.job.rows[i].count = &count[0]
        self.job.rows[i].one = one
        if weights.dtype == "uint8":
            exact = weights
            self.job.rows[i].exact = &exact[0, 0]
        elif weights.dtype == "uint16":
            few = weights
            self.job.rows[i].few = &few[0, 0]
        else:
            many = weights
            self.job.rows[i].many = &many[0, 0]

    cdef _set_columns(self, int i, int target, int taps, const int32_t[::1] start, weights):
        cdef const int16_t[::1] few
        cdef const float[::1] many
        self.job.columns[i].target = target
        self.job.columns[i].taps = taps
        self.job.columns[i].start = &start[0]
        if weights.dtype == "int16":
            few = weights
            self.job.columns[i].few = &few[0]
        else:
            many = weights
            self.job.columns[i].many = &many[0]

    def _set_windows(self, int i, int pixels, int pairs, const int32_t[::1] first, const int32_t[::1] start,
                     const int32_t[::1] to, const uint16_t[::1] pick, const int16_t[::1] weights):
        cdef lc_windows *windows = &self.job.columns[i].windows
        windows.pixels = pixels
        windows.tables = first.shape[0] - 1
        windows.pairs = pairs
        windows.first = &first[0]
        windows.start = &start[0]
        windows.to = &to[0]
        windows.pick = &pick[0]
        windows.weights = &weights[0]

    def run(self, tuple planes, cnp.ndarray out, small, int threads):
        cdef lc_preprocess job = self.job  # a copy: several threads may run one plan at once
        cdef cnp.ndarray plane
        cdef int i, failed, at_level = level
        for i in range(len(planes)):
            plane = planes[i]
            job.planes[i].data = <const uint8_t *> cnp.PyArray_DATA(plane)
            job.planes[i].stride = cnp.PyArray_STRIDE(plane, 0)
            job.planes[i].row_bytes = cnp.PyArray_DIM(plane, 1)
            if cnp.PyArray_NDIM(plane) == 3:
                job.planes[i].row_bytes *= cnp.PyArray_DIM(plane, 2)
        job.out = cnp.PyArray_DATA(out)
        if small is not None:
            plane = small
            job.small = <uint8_t *> cnp.PyArray_DATA(plane)
            job.small_stride = cnp.PyArray_STRIDE(plane, 0)
        with nogil:
            failed = lc_preprocess_run(&job, parallel_for, threads, at_level)
        if failed:
            raise MemoryError("preprocess: no memory for a row of work")
