/* Preprocess: one pass over the source rows, one row of the network's input at a time.
 *
 *   vertical     source rows -> one row of 16-bit samples, offset so that 0 stands for level 128
 *   horizontal   that row -> planes of float, levels - 128
 *   colour       planar YUV only: the three planes become RGB
 *   emit         planes -> out (scaled, in its dtype and layout) and small (rounded)
 *
 * The source is read once and in order; everything between lives in a few kilobytes of scratch.
 */
#ifndef LIVECUT_PREPROCESS_H
#define LIVECUT_PREPROCESS_H

#include <stddef.h>
#include <stdint.h>

enum {
    LC_GROUP = 8,      /* output pixels that the horizontal loops do at once; tables and planes are padded to it */
    LC_ROW_PAD = 64,   /* samples that the horizontal loops may read past the end of a row, under zero weights */
    LC_FEW_TAPS = 16,  /* up to here the 16-bit loops are exact enough (0.1 of a level); beyond, the wide ones */
};

enum { LC_F32, LC_F16, LC_U8 }; /* what out holds */

/* The vertical axis: output row i is the sum of `count[i]` source rows from `start[i]`, weights at i * taps, in one of
 * three tables. Samples come out as (level - 128) * one. */
struct lc_rows {
    int taps, one;         /* one: 256, or with `exact` what its weights add up to */
    const int32_t *start, *count;
    const uint8_t *exact;  /* whole numbers, up to 127 in sum, an even number of taps: ratios such as 15 to 4 */
    const uint16_t *few;   /* weights * 65536; a single tap is 1 and its weight is not read */
    const uint32_t *many;  /* weights * 2^24 */
};

/* The same weights for chips that pick any 32 of 64 samples in one instruction (AVX-512): `pixels` output pixels take
 * all their taps from one window of 64 samples. Ratios repeat, so most groups share few tables. */
struct lc_windows {
    int pixels, tables, pairs;   /* pixels 0: no windows, use the tables above */
    const int32_t *first;        /* per table, and one more: where its groups begin in the two lists below */
    const int32_t *start, *to;   /* per group: first sample of the window, first output pixel */
    const uint16_t *pick;        /* per table and pair of taps: 32 positions in the window, two per sum */
    const int16_t *weights;      /* likewise; sums run over pixels, and over R, G, B within a pixel */
};

/* The horizontal axis. `few` holds weights * 16384, padded with zeros: for interleaved pixels, per group and pair of
 * taps, the pair of each of the 8 pixels; for single planes, per pixel, `taps` (a multiple of 8) weights.
 * `many` holds floats, per pixel, `taps` weights. */
struct lc_columns {
    int target, taps;
    float unit; /* of a sum: 1 / (16384 * one of the rows) */
    const int32_t *start;
    const int16_t *few;
    const float *many;
    struct lc_windows windows;
};

struct lc_plane {
    const uint8_t *data;
    ptrdiff_t stride;
    int row_bytes;
};

struct lc_preprocess {
    int channels;                      /* 3, 4: packed; 1: I420; 2: NV12 */
    int red_first;                     /* packed: whether channel 0 is red */
    struct lc_plane planes[3];
    struct lc_rows rows[2];            /* of the picture or luma; of chroma */
    struct lc_columns columns[2];
    float yuv[6];                      /* luma scale, offset - 128; Cr to R, Cb to G, Cr to G, Cb to B */
    int input_width, input_height;
    int x, y, width, height;           /* the roi */
    float scale[3], offset[3];         /* of output channel k: (level - 128) * scale + offset */
    int source_of[3];                  /* which of R, G, B output channel k is */
    float pad[3], pad_small[3];        /* padding: normalised, by output channel; 0..255, RGB */
    int dtype, nhwc;
    void *out;
    uint8_t *small;                    /* or NULL */
    ptrdiff_t small_stride;
};

/* Where one row of float32 planes goes, normalised, in one step from the sums; see `finish`. */
struct lc_finish {
    float scale[3], offset[3]; /* by source channel, as all of these */
    float *out[3];
    float unit;
    int red;                   /* which source channel is red */
    uint8_t *small;            /* or NULL */
    const uint8_t *ahead;
};

/* The loops that differ by instruction set.
 *
 * `ahead` is where the source rows of later output rows lie. While a row is computed every loop asks for a share of
 * them, one or two cache lines a step: asked for all at once they would queue, and the arithmetic with them; not asked
 * for, a frame that comes from memory takes half as long again. Past the end of the frame it does no harm. */
struct lc_preprocess_ops {
    void (*vertical_exact)(const uint8_t *const *rows, const uint8_t *weights, int one, int count, int bytes,
                           const uint8_t *ahead, uint16_t *out);
    void (*vertical)(const uint8_t *const *rows, const uint16_t *weights, int count, int bytes, const uint8_t *ahead,
                     uint16_t *out);
    void (*vertical_many)(const uint8_t *first, ptrdiff_t stride, const uint32_t *weights, int count, int bytes,
                          uint16_t *out);
    void (*horizontal_pixels)(const uint16_t *row, int channels, const struct lc_columns *columns, const uint8_t *ahead,
                              float *const *out);
    /* With windows only, else NULL: interleaved sums, and what becomes of them: planes, or out and small at once. */
    void (*windowed_sums)(const uint16_t *row, const struct lc_columns *columns, const uint8_t *ahead, int32_t *sums);
    void (*sums_to_planes)(const int32_t *sums, int count, float unit, float *const *out);
    void (*finish)(const int32_t *sums, int count, const struct lc_finish *to);
    void (*horizontal_plane)(const uint16_t *row, const struct lc_columns *columns, const uint8_t *ahead, float *out);
    void (*split)(const uint16_t *pairs, int count, uint16_t *first, uint16_t *second);
    void (*yuv_to_rgb)(const float *yuv, int count, float *y_to_r, float *u_to_g, float *v_to_b);
    void (*scale)(const float *in, int count, float scale, float offset, float *out);
    void (*to_half)(const float *in, int count, uint16_t *out);
    void (*to_bytes)(const float *in, int count, uint8_t *out);
    void (*interleave)(float *const *in, int count, float *out);
    void (*interleave_bytes)(float *const *in, int count, uint8_t *out);
};

/* Run on up to `threads` threads at the given level (LC_PLAIN ...); 0, or -1 when there is no memory for scratch. */
typedef void (*lc_parallel_for_fn)(void (*task)(void *, int, int), void *context, int items, int threads);
int lc_preprocess_run(const struct lc_preprocess *job, lc_parallel_for_fn parallel_for, int threads, int level);

#endif
