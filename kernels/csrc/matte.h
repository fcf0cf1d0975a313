/* Small loops on pictures and mattes: denoise, temporal smoothing, bounds. */
#ifndef LIVECUT_MATTE_H
#define LIVECUT_MATTE_H

#include <stddef.h>
#include <stdint.h>

typedef void (*lc_parallel_for_fn)(void (*task)(void *, int, int), void *context, int items, int threads);

/* Taper of the denoise: differences count in full up to `strength`, less beyond, not at all from twice that on.
 * Eight of them fit in a byte while strength is at most 31. */
struct lc_denoise {
    const uint8_t *in;
    uint8_t *out;
    ptrdiff_t in_stride, out_stride;
    int height, row_bytes, channels, strength;
};

struct lc_temporal {
    int width, height;
    float *alpha, *previous; /* in and out; what was put out for the frame before */
    const uint8_t *small;    /* RGB */
    ptrdiff_t alpha_stride, small_stride; /* bytes; previous, luma, moved and jumped are packed */
    uint8_t *luma;           /* of the frame before; updated */
    uint8_t *moved, *jumped; /* work, (height, width + 2): change of luma; of alpha, in 255ths; edges repeated */
    int first;               /* there is no frame before */
    float base;              /* weight of the new alpha in a still scene */
    float still, moving;     /* mean change of luma over 3x3, in 255ths: up to here noise, from here on motion */
    float steady, jump;      /* the same of alpha */
};

struct lc_bounds {
    const uint8_t *alpha;
    ptrdiff_t stride;
    int width, height, threshold;
    /* results */
    int64_t count;
    int left, top, right, bottom;      /* half-open; empty where left >= right */
    int on_left, on_top, on_right, on_bottom; /* pixels of the matte on each border */
};

void lc_denoise_run(const struct lc_denoise *job, lc_parallel_for_fn parallel_for, int threads, int level);
void lc_temporal_run(const struct lc_temporal *job, lc_parallel_for_fn parallel_for, int threads, int level);
void lc_bounds_run(struct lc_bounds *job, lc_parallel_for_fn parallel_for, int threads, int level);

#endif
