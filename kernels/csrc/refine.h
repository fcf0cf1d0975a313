/* Small alpha to full resolution, decontamination and compositing: the job, its scratch memory, and the entry points.
 *
 * Grids. The network's alpha has `rw` x `rh` cells under the frame (the region of interest of its input). The guided
 * coefficients live on that grid; the blur-fusion colours on a grid of half its size, `fw` x `fh`.
 * Fixed point. Alpha is 0..2048 on the small grid (Q11) and 0..32767 at full resolution (Q15, "alpha15"); enlarged
 * colours are 8.7 bits in int16.
 */
#ifndef LIVECUT_REFINE_H
#define LIVECUT_REFINE_H

#include <stddef.h>
#include <stdint.h>

#include "threads.h"

typedef void (*lc_parallel_for_fn)(lc_task task, void *context, int items, int threads);

enum { LC_BGR, LC_RGB, LC_BGRA, LC_RGBA, LC_I420, LC_NV12, LC_ALPHA, LC_YUVA420 };
enum { LC_NO_BACKGROUND, LC_COLOUR, LC_PACKED, LC_PLANES };
enum { LC_BLOCK = 32, LC_MAX_SLOTS = 64, LC_MAX_RADIUS = 31 };

typedef struct {
    int width, height; /* of the frame */
    int rw, rh;        /* of the small alpha under the frame */
    const float *alpha;
    ptrdiff_t alpha_stride; /* in elements */
    const uint8_t *small;   /* packed RGB; null unless refine or decontaminate */
    ptrdiff_t small_stride;
    int in_format, out_format;
    const uint8_t *in[3];
    ptrdiff_t in_stride[3];
    uint8_t *out[4];
    ptrdiff_t out_stride[4];
    int background;        /* LC_PACKED: in the order of a packed output, RGB for I420 */
    const uint8_t *bg[3];
    ptrdiff_t bg_stride[3];
    uint8_t colour[3];     /* RGB */
    const uint8_t *input_alpha;
    ptrdiff_t input_alpha_stride;
    int refine, decontaminate, radius, fusion_radius;
    float eps;
    int bt601, full_range;
    int threads;
    uint8_t *scratch; /* 64-byte aligned, lc_refine_scratch_bytes() long */
} lc_refine_job;

void lc_refine_init(void); /* once, before any other call */
size_t lc_refine_scratch_bytes(int width, int height, int rw, int rh, int threads);
void lc_refine_run(const lc_refine_job *job, lc_parallel_for_fn parallel_for, int level);

/* Blur the small picture (three box passes of job->radius) and enlarge it into a packed RGB or BGR picture. Only the
 * sizes, small, radius, out, threads and scratch of the job count. */
void lc_blur_run(const lc_refine_job *job, lc_parallel_for_fn parallel_for, int level);

/* out = round((image * alpha + background * (255 - alpha)) / 255) for packed three-channel pictures. */
typedef struct {
    int width, height;
    const uint8_t *image, *alpha, *background;
    uint8_t *out;
    ptrdiff_t image_stride, alpha_stride, background_stride, out_stride;
} lc_over_job;
void lc_composite_over(const lc_over_job *job, lc_parallel_for_fn parallel_for, int threads, int level);

#endif
