// livecut.cu compiled for the host: see emulate.h. Only tests and checks of numerics use it.
#include "emulate.h"

#include "livecut.cu"

#define KERNEL(name, block, barriers)                                                                              \
    static void enter_##name(const void *args) { name(*(const block *)args); }                                     \
    extern "C" void emulate_##name(const unsigned *grid, const unsigned *threads, const void *args, int reverse) { \
        emulate::launch(enter_##name, barriers, grid, threads, args, reverse);                                     \
    }                                                                                                              \
    extern "C" unsigned sizeof_##name() { return sizeof(block); }

KERNEL(lc_preprocess, lc_preprocess_args, true)
KERNEL(lc_measure, lc_small_args, true)
KERNEL(lc_solve, lc_small_args, false)
KERNEL(lc_smooth, lc_smooth_args, false)
KERNEL(lc_remember, lc_smooth_args, false)
KERNEL(lc_blur, lc_blur_args, false)
KERNEL(lc_composite_packed, lc_composite_args, false)
KERNEL(lc_composite_straight, lc_composite_args, false)
KERNEL(lc_composite_alpha, lc_composite_args, false)
KERNEL(lc_composite_planar, lc_composite_args, false)
KERNEL(lc_over, lc_over_args, false)
