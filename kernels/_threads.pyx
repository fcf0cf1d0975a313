"""The pool of worker threads that all kernels share, and what this chip offers. Arguments are trusted."""
from cpython.pycapsule cimport PyCapsule_New

cdef extern from "threads.h":
    ctypedef void (*lc_task)(void *context, int begin, int end) noexcept nogil
    void lc_parallel_for(lc_task task, void *context, int items, int threads) noexcept nogil

cdef extern from "dispatch.h":
    int lc_simd_level() noexcept nogil

cdef extern from "cpu.h":
    const char *lc_cpu_feature(int i) noexcept nogil

# The other kernels take this pointer at import instead of linking a pool of their own; a capsule rather than
# `cimport`, which does not find a .pxd through the mapping of the root onto the package.
PARALLEL_FOR = PyCapsule_New(<void *> &lc_parallel_for, "livecut.parallel_for", NULL)


def simd_level():
    """``plain``, ``avx2`` or ``avx512``: what the kernels of this process run."""
    return ("plain", "avx2", "avx512")[lc_simd_level()]


def cpu_features():
    """Names of the instruction sets of this chip that matter here, whatever ``LIVECUT_SIMD`` says."""
    cdef int i = 0
    names = []
    while lc_cpu_feature(i) != NULL:
        names.append(lc_cpu_feature(i).decode())
        i += 1
    return tuple(names)
