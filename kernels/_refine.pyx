"""Compiled side of kernels/refine.py and kernels/composite.py. Arguments are trusted: the wrappers check them."""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int16_t, uint8_t
from libc.string cimport memset

from . import _threads

cnp.import_array()

cdef extern from "dispatch.h":
    int lc_simd_level() noexcept nogil

cdef extern from "refine.h":
    enum: LC_NO_BACKGROUND, LC_COLOUR, LC_PACKED, LC_PLANES
    ctypedef void (*lc_parallel_for_fn)(void (*)(void *, int, int) noexcept nogil, void *, int, int) noexcept nogil
    ctypedef struct lc_refine_job:
        int width, height, rw, rh
        const float *alpha
        ptrdiff_t alpha_stride
        const uint8_t *small
        ptrdiff_t small_stride
        int in_format, out_format
        const uint8_t *in_ "in" [3]
        ptrdiff_t in_stride[3]
        uint8_t *out[4]
        ptrdiff_t out_stride[4]
        int background
        const uint8_t *bg[3]
        ptrdiff_t bg_stride[3]
        uint8_t colour[3]
        const uint8_t *input_alpha
        ptrdiff_t input_alpha_stride
        int refine, decontaminate, radius, fusion_radius
        float eps
        int bt601, full_range, threads
        uint8_t *scratch
    ctypedef struct lc_over_job:
        int width, height
        const uint8_t *image
        const uint8_t *alpha
        const uint8_t *background
        uint8_t *out
        ptrdiff_t image_stride, alpha_stride, background_stride, out_stride
    void lc_refine_init() noexcept nogil
    size_t lc_refine_scratch_bytes(int, int, int, int, int) noexcept nogil
    void lc_refine_run(const lc_refine_job *, lc_parallel_for_fn, int) noexcept nogil
    void lc_blur_run(const lc_refine_job *, lc_parallel_for_fn, int) noexcept nogil
    void lc_composite_over(const lc_over_job *, lc_parallel_for_fn, int, int) noexcept nogil

cdef lc_parallel_for_fn parallel_for = <lc_parallel_for_fn> PyCapsule_GetPointer(
    _threads.PARALLEL_FOR, "livecut.parallel_for"
)
lc_refine_init()
FORMATS = ("BGR", "RGB", "BGRA", "RGBA", "I420", "NV12", "ALPHA", "YUVA420")  # in the order of the C enumeration
LEVELS = ("plain", "avx2", "avx512")[: lc_simd_level() + 1]
cdef int level = lc_simd_level()


def use_level(name):
    """Run at another level of ``LEVELS`` from now on; for tests, which compare the levels in one process."""
    global level
    level = LEVELS.index(name)


def scratch_bytes(int width, int height, int rw, int rh, int threads):
    return lc_refine_scratch_bytes(width, height, rw, rh, threads)


def refine_and_composite(tuple planes, cnp.ndarray alpha_small, str format, tuple frame_wh, tuple roi, str output,
                         tuple out, small, background, colour, input_alpha, bint refine, bint decontaminate,
                         int radius, float eps, int fusion_radius, bint bt601, bint full_range, cnp.ndarray scratch,
                         int threads):
    cdef lc_refine_job job
    cdef cnp.ndarray array
    cdef int i, at_level = level
    memset(&job, 0, sizeof(job))
    job.width, job.height = frame_wh
    cdef int x = roi[0], y = roi[1]
    job.rw, job.rh = roi[2], roi[3]
    job.alpha_stride = cnp.PyArray_STRIDE(alpha_small, 0) // 4
    job.alpha = <const float *> cnp.PyArray_DATA(alpha_small) + y * job.alpha_stride + x
    if small is not None:
        array = small
        job.small_stride = cnp.PyArray_STRIDE(array, 0)
        job.small = <const uint8_t *> cnp.PyArray_DATA(array) + y * job.small_stride + 3 * x
    job.in_format = FORMATS.index(format)
    job.out_format = FORMATS.index(output)
    for i in range(len(planes)):
        array = planes[i]
        job.in_[i] = <const uint8_t *> cnp.PyArray_DATA(array)
        job.in_stride[i] = cnp.PyArray_STRIDE(array, 0)
    for i in range(len(out)):
        array = out[i]
        job.out[i] = <uint8_t *> cnp.PyArray_DATA(array)
        job.out_stride[i] = cnp.PyArray_STRIDE(array, 0)
    if background is not None:
        job.background = LC_PACKED if len(background) == 1 else LC_PLANES
        for i in range(len(background)):
            array = background[i]
            job.bg[i] = <const uint8_t *> cnp.PyArray_DATA(array)
            job.bg_stride[i] = cnp.PyArray_STRIDE(array, 0)
    elif colour is not None:
        job.background = LC_COLOUR
        for i in range(3):
            job.colour[i] = colour[i]
    if input_alpha is not None:
        array = input_alpha
        job.input_alpha = <const uint8_t *> cnp.PyArray_DATA(array)
        job.input_alpha_stride = cnp.PyArray_STRIDE(array, 0)
    job.refine, job.decontaminate, job.radius, job.eps = refine, decontaminate, radius, eps
    job.fusion_radius, job.bt601, job.full_range, job.threads = fusion_radius, bt601, full_range, threads
    job.scratch = <uint8_t *> ((<size_t> cnp.PyArray_DATA(scratch) + 63) & ~(<size_t> 63))
    with nogil:
        lc_refine_run(&job, parallel_for, at_level)


def composite_over(cnp.ndarray image, cnp.ndarray alpha, cnp.ndarray background, cnp.ndarray out, int threads):
    cdef lc_over_job job
    cdef int at_level = level
    job.height, job.width = cnp.PyArray_DIM(image, 0), cnp.PyArray_DIM(image, 1)
    job.image, job.image_stride = <const uint8_t *> cnp.PyArray_DATA(image), cnp.PyArray_STRIDE(image, 0)
    job.alpha, job.alpha_stride = <const uint8_t *> cnp.PyArray_DATA(alpha), cnp.PyArray_STRIDE(alpha, 0)
    job.background = <const uint8_t *> cnp.PyArray_DATA(background)
    job.background_stride = cnp.PyArray_STRIDE(background, 0)
    job.out, job.out_stride = <uint8_t *> cnp.PyArray_DATA(out), cnp.PyArray_STRIDE(out, 0)
    with nogil:
        lc_composite_over(&job, parallel_for, threads, at_level)


def blur_background(cnp.ndarray small, tuple frame_wh, tuple roi, int radius, str output, cnp.ndarray out,
                    cnp.ndarray scratch, int threads):
    cdef lc_refine_job job
    cdef int at_level = level
    memset(&job, 0, sizeof(job))
    job.width, job.height = frame_wh
    job.rw, job.rh = roi[2], roi[3]
    job.small_stride = cnp.PyArray_STRIDE(small, 0)
    cdef int x = roi[0], y = roi[1]
    job.small = <const uint8_t *> cnp.PyArray_DATA(small) + y * job.small_stride + 3 * x
    job.radius, job.threads, job.out_format = radius, threads, FORMATS.index(output)
    job.out[0], job.out_stride[0] = <uint8_t *> cnp.PyArray_DATA(out), cnp.PyArray_STRIDE(out, 0)
    job.scratch = <uint8_t *> ((<size_t> cnp.PyArray_DATA(scratch) + 63) & ~(<size_t> 63))
    with nogil:
        lc_blur_run(&job, parallel_for, at_level)
