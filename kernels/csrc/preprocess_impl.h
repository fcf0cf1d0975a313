/* The loops of preprocess for one instruction set; see preprocess.h. Included by preprocess.c once per set.
 * All sets compute the same integers and the same float operations, so their results are identical. */

#include "preprocess_vertical_impl.h"

#ifdef __AVX512BW__
#include "preprocess_windows_impl.h"
#endif

#include "preprocess_horizontal_impl.h"

#include "preprocess_emit_impl.h"

static const struct lc_preprocess_ops LC_NAME(preprocess_ops) = {
    .vertical_exact = LC_NAME(vertical_exact),
    .vertical = LC_NAME(vertical),
    .vertical_many = LC_NAME(vertical_many),
    .horizontal_pixels = LC_NAME(horizontal_pixels),
#ifdef __AVX512BW__
    .windowed_sums = LC_NAME(windowed_sums),
    .sums_to_planes = LC_NAME(sums_to_planes),
    .finish = LC_NAME(finish),
#endif
    .horizontal_plane = LC_NAME(horizontal_plane),
    .split = LC_NAME(split),
    .yuv_to_rgb = LC_NAME(yuv_to_rgb),
    .scale = LC_NAME(scale),
    .to_half = LC_NAME(to_half),
    .to_bytes = LC_NAME(to_bytes),
    .interleave = LC_NAME(interleave),
    .interleave_bytes = LC_NAME(interleave_bytes),
};
