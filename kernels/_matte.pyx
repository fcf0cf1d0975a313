"""Compiled side of kernels/denoise.py, temporal.py and bounds.py. Arguments are trusted: the wrappers checked them."""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t

from . import _threads

cnp.import_array()

cdef extern from "dispatch.h":
    int lc_simd_level() noexcept nogil

cdef extern from "matte.h":
    ctypedef void (*lc_parallel_for_fn)(void (*)(void *, int, int) noexcept nogil, void *, int, int) noexcept nogil
    cdef struct lc_denoise:
        const uint8_t *in_ "in"
        uint8_t *out
        ptrdiff_t in_stride, out_stride
        int height, row_bytes, channels, strength
    cdef struct lc_temporal:
        int width, height
        float *alpha
        float *previous
        const uint8_t *small
        ptrdiff_t alpha_stride, small_stride
        uint8_t *luma
        uint8_t *moved
        uint8_t *jumped
        int first
        float base, still, moving, steady, jump
    cdef struct lc_bounds:
        const uint8_t *alpha
        ptrdiff_t stride
        int width, height, threshold
        int64_t count
        int left, top, right, bottom, on_left, on_top, on_right, on_bottom
    void lc_denoise_run(const lc_denoise *, lc_parallel_for_fn, int, int) noexcept nogil
    void lc_temporal_run(const lc_temporal *, lc_parallel_for_fn, int, int) noexcept nogil
    void lc_bounds_run(lc_bounds *, lc_parallel_for_fn, int, int) noexcept nogil

cdef lc_parallel_for_fn parallel_for = <lc_parallel_for_fn> PyCapsule_GetPointer(
    _threads.PARALLEL_FOR, "livecut.parallel_for"
)
LEVELS = ("plain", "avx2", "avx512")[: lc_simd_level() + 1]
cdef int level = lc_simd_level()


def use_level(name):
    """Run at another level of ``LEVELS`` from now on; for tests, which compare the levels in one process."""
    global level
    level = LEVELS.index(name)


def denoise(cnp.ndarray image, cnp.ndarray out, int strength, int threads):
    cdef lc_denoise job
    cdef int at_level = level
    job.in_ = <const uint8_t *> cnp.PyArray_DATA(image)
    job.out = <uint8_t *> cnp.PyArray_DATA(out)
    job.in_stride = cnp.PyArray_STRIDE(image, 0)
    job.out_stride = cnp.PyArray_STRIDE(out, 0)
    job.height = cnp.PyArray_DIM(image, 0)
    job.channels = cnp.PyArray_DIM(image, 2)
    job.row_bytes = cnp.PyArray_DIM(image, 1) * job.channels
    job.strength = strength
    with nogil:
        lc_denoise_run(&job, parallel_for, threads, at_level)


def smooth(cnp.ndarray alpha, cnp.ndarray small, cnp.ndarray previous, cnp.ndarray luma, cnp.ndarray changes,
           bint first, float base, float still, float moving, float steady, float jump, int threads):
    cdef lc_temporal job
    cdef int at_level = level
    job.height = cnp.PyArray_DIM(alpha, 0)
    job.width = cnp.PyArray_DIM(alpha, 1)
    job.alpha = <float *> cnp.PyArray_DATA(alpha)
    job.alpha_stride = cnp.PyArray_STRIDE(alpha, 0)
    job.small = <const uint8_t *> cnp.PyArray_DATA(small)
    job.small_stride = cnp.PyArray_STRIDE(small, 0)
    job.previous = <float *> cnp.PyArray_DATA(previous)
    job.luma = <uint8_t *> cnp.PyArray_DATA(luma)
    job.moved = <uint8_t *> cnp.PyArray_DATA(changes)
    job.jumped = job.moved + cnp.PyArray_STRIDE(changes, 0)
    job.first = first
    job.base, job.still, job.moving, job.steady, job.jump = base, still, moving, steady, jump
    with nogil:
        lc_temporal_run(&job, parallel_for, threads, at_level)


def bounds(cnp.ndarray alpha, int threshold, int threads):
    cdef lc_bounds job
    cdef int at_level = level
    job.alpha = <const uint8_t *> cnp.PyArray_DATA(alpha)
    job.stride = cnp.PyArray_STRIDE(alpha, 0)
    job.height = cnp.PyArray_DIM(alpha, 0)
    job.width = cnp.PyArray_DIM(alpha, 1)
    job.threshold = threshold
    with nogil:
        lc_bounds_run(&job, parallel_for, threads, at_level)
    return job.count, (job.left, job.top, job.right, job.bottom), (
        job.on_top, job.on_right, job.on_bottom, job.on_left,
    )
