/* Scratch memory of one refine_and_composite call, carved out of a single buffer. Not part of any instruction set. */
#ifndef LIVECUT_REFINE_WORK_H
#define LIVECUT_REFINE_WORK_H

#include <stdatomic.h>

#include "dispatch.h"
#include "refine.h"

enum { LC_ONE = 2048 /* alpha 1.0 in Q11 */, LC_REACH = 1 /* cells that refining may move an edge by */ };
enum { LC_COEFFICIENTS = 4, LC_COLOURS = 6, LC_PAD = 64 };
enum { LC_A, LC_B, LC_LOW, LC_HIGH }; /* planes of the coefficient grid when refining; alone, LC_A is alpha15 */

/* Where each output column lies between the columns of a grid: columns `index` and `index + 1`, weight Q15 of the
 * latter. `near` and `near8` are the index relative to that of the first column in each 32 and 8. */
typedef struct {
    int32_t *index;
    int16_t *weight, *near, *near8;
    int narrow; /* every 32 outputs read from a window of 32 columns, and every 8 from a window of 8 */
} lc_columns;

/* Cells [x0, x1) x [y0, y1). */
typedef struct {
    int x0, y0, x1, y1;
} lc_box;

static inline lc_box lc_grow(lc_box box, int dx, int dy, int width, int height) {
    box.x0 = box.x0 > dx ? box.x0 - dx : 0;
    box.y0 = box.y0 > dy ? box.y0 - dy : 0;
    box.x1 = box.x1 + dx < width ? box.x1 + dx : width;
    box.y1 = box.y1 + dy < height ? box.y1 + dy : height;
    return box;
}

/* Two enlarged rows of each plane of a grid, and the weight of the lower one. */
typedef struct {
    const int16_t *planes;
    size_t plane_stride, row_stride;
    int count, rows, blocks, at; /* at: the upper row; -1 before the first */
    int16_t weight;
    int16_t *row[2][LC_COLOURS];
    uint8_t *ready[2]; /* per block, whether it has been enlarged */
    const lc_columns *columns;
} lc_ring;

/* Buffers of one thread. */
typedef struct {
    int32_t *sums, *columns, *ping, *pong; /* sums, columns: 8 rows of small_row each */
    int16_t *edge;                         /* coefficient rows: [plane][top, bottom][row] */
    int16_t *colour;                       /* colour rows: the same */
    int16_t *alpha[2];                     /* alpha15 of two rows */
    int16_t *alpha_chroma;
    int16_t *luma; /* of one row, 8.7 bits */
    uint8_t *pixels;     /* [2 rows][3 channels][row] */
    uint8_t *background; /* the same */
    uint8_t *coverage;   /* one row */
    uint8_t *yuv, *back; /* Y of two rows, U, V: of the frame and of the background */
    uint8_t *class_;     /* [2 rows][blocks] */
    uint8_t *ready;      /* of both grids, [2][2 rows][blocks] */
} lc_slot;

typedef struct {
    const lc_refine_job *job;
    int fw, fh;                   /* the colour grid */
    int small_row, grid_row, colour_row, row, blocks;
    int yuv;                      /* blends in YUV: planar frame, planar output */
    int coefficients;             /* planes of the coefficient grid in use */
    int16_t *alpha;               /* Q11, [rh][grid_row] */
    int16_t *luma;                /* 8.7 bits, [rh][grid_row] */
    uint8_t *rgb;                 /* [3][rh][grid_row] */
    int16_t *weights;             /* of foreground and background, Q11, [2][rh][grid_row] */
    int32_t *slope;               /* Q15, [rh][grid_row]; blurring takes two planes */
    int16_t *extremes;            /* horizontal minimum and maximum, [2][rh][grid_row] */
    int16_t *grid;                /* [LC_COEFFICIENTS][rh][grid_row] */
    uint32_t *is_none, *is_all;   /* a bit a cell, [rh][words]: nothing, or only the frame, shows */
    int words;
    int luma_shift;               /* the moments' luma has as many bits as their 32-bit sums can hold */
    lc_box box;                   /* the cells that mixed blocks are enlarged from */
    lc_box slopes, read;          /* where those need slopes, and the picture */
    lc_box fused, weighed;        /* the same of the colour grid */
    uint16_t *fusion;             /* [8][fh][colour_row] */
    int16_t *colours;             /* 8.7 bits, [LC_COLOURS][fh][colour_row] */
    lc_columns fine, coarse;      /* columns of the coefficient grid and of the colour grid */
    lc_slot slots[LC_MAX_SLOTS];
    atomic_ullong free_slots;
    uint8_t *fill;                /* a row of the background colour as packed pixels */
    uint8_t colour_yuv[3];
} lc_work;

/* One box pass over one channel of the background blur; a null `to` is the last. */
typedef struct {
    lc_work *w;
    int channel;
    const int32_t *from;
    int32_t *to;
} lc_blur_pass;

/* Where output `at` of `n_out` lies on a grid of `n_in` / `step` cells, half-pixel centres, clamped: the cell before it
 * and, in Q15, how far it is towards the next one. */
static inline int lc_place(int at, int n_out, int n_in, int step, int cells, int16_t *weight) {
    const int64_t whole = 2 * (int64_t)step * n_out, position = (2 * (int64_t)at + 1) * n_in - (int64_t)step * n_out;
    int64_t index = position < 0 ? 0 : position / whole;
    *weight = 0;
    if (position < 0) return 0;
    if (index >= cells - 1) return cells - 1;
    const int64_t part = ((position - index * whole) * 32768 + whole / 2) / whole;
    *weight = (int16_t)(part < 32767 ? part : 32767);
    return (int)index;
}

static inline void *lc_take(uint8_t *base, size_t *used, size_t bytes) {
    void *here = base ? base + *used : 0;
    *used += (bytes + 63) & ~(size_t)63;
    return here;
}

/* Lay the buffers out from `base`; with a null base only count. Returns the bytes needed. */
static size_t lc_carve(lc_work *w, uint8_t *base, int width, int rw, int rh, int threads) {
    size_t used = 0;
    w->fw = (rw + 1) / 2;
    w->fh = (rh + 1) / 2;
    w->grid_row = (rw + LC_PAD + 63) & ~63;
    w->colour_row = (w->fw + LC_PAD + 63) & ~63;
    w->small_row = (rw + 2 * LC_MAX_RADIUS + 2 + LC_PAD + 63) & ~63;
    w->row = (width + LC_PAD + 63) & ~63;
    w->blocks = (width + LC_BLOCK - 1) / LC_BLOCK;
    const size_t cells = (size_t)rh * w->grid_row, colours = (size_t)w->fh * w->colour_row, row = w->row;
    w->alpha = lc_take(base, &used, cells * 2);
    w->luma = lc_take(base, &used, cells * 2);
    w->rgb = lc_take(base, &used, cells * 3);
    w->weights = lc_take(base, &used, cells * 4);
    w->slope = lc_take(base, &used, cells * 8);
    w->extremes = lc_take(base, &used, cells * 4);
    w->grid = lc_take(base, &used, cells * 2 * LC_COEFFICIENTS);
    w->words = w->grid_row / 32;
    w->is_none = lc_take(base, &used, (size_t)rh * w->words * 4);
    w->is_all = lc_take(base, &used, (size_t)rh * w->words * 4);
    w->fusion = lc_take(base, &used, colours * 16);
    w->colours = lc_take(base, &used, colours * 2 * LC_COLOURS);
    lc_columns *columns[2] = {&w->fine, &w->coarse};
    for (int i = 0; i < 2; i++) {
        columns[i]->index = lc_take(base, &used, row * 4);
        columns[i]->weight = lc_take(base, &used, row * 2);
        columns[i]->near = lc_take(base, &used, row * 2);
        columns[i]->near8 = lc_take(base, &used, row * 2);
    }
    w->fill = lc_take(base, &used, row * 3);
    if (threads > LC_MAX_SLOTS) threads = LC_MAX_SLOTS;
    for (int i = 0; i < threads; i++) {
        lc_slot *s = &w->slots[i];
        s->sums = lc_take(base, &used, (size_t)w->small_row * 4 * 8);
        s->columns = lc_take(base, &used, (size_t)w->small_row * 4 * 8);
        s->ping = lc_take(base, &used, (size_t)w->small_row * 4);
        s->pong = lc_take(base, &used, (size_t)w->small_row * 4);
        s->edge = lc_take(base, &used, row * 2 * 2 * LC_COEFFICIENTS);
        s->colour = lc_take(base, &used, row * 2 * 2 * LC_COLOURS);
        s->alpha[0] = lc_take(base, &used, row * 2);
        s->alpha[1] = lc_take(base, &used, row * 2);
        s->alpha_chroma = lc_take(base, &used, row * 2);
        s->pixels = lc_take(base, &used, row * 6);
        s->background = lc_take(base, &used, row * 6);
        s->coverage = lc_take(base, &used, row);
        s->yuv = lc_take(base, &used, row * 4);
        s->back = lc_take(base, &used, row * 4);
        s->luma = lc_take(base, &used, row * 2);
        s->class_ = lc_take(base, &used, (size_t)w->blocks * 2);
        s->ready = lc_take(base, &used, (size_t)w->blocks * 4);
    }
    return used + 64;
}

/* Whether bits [first, last] are all set in both rows. The rows have a word more than the last bit's. */
static inline int lc_all_set(const uint32_t *a, const uint32_t *b, int first, int last) {
    if (last - first < 32) {
        const int word = first / 32;
        const uint64_t bits = (a[word] & b[word]) | (uint64_t)(a[word + 1] & b[word + 1]) << 32;
        return (~bits >> (first % 32) & (~0u >> (31 - (last - first)))) == 0;
    }
    for (int word = first / 32; word <= last / 32; word++) {
        uint32_t wanted = ~0u;
        if (word == first / 32) wanted &= ~0u << (first % 32);
        if (word == last / 32) wanted &= ~0u >> (31 - last % 32);
        if ((a[word] & b[word] & wanted) != wanted) return 0;
    }
    return 1;
}

/* A slot for the calling thread; there are as many as threads, so one is always free. */
static inline lc_slot *lc_acquire(lc_work *w) {
    unsigned long long free = atomic_load(&w->free_slots);
    while (!free || !atomic_compare_exchange_weak(&w->free_slots, &free, free & (free - 1)))
        if (!free) free = atomic_load(&w->free_slots);
    return &w->slots[__builtin_ctzll(free)];
}

static inline void lc_release(lc_work *w, lc_slot *slot) {
    atomic_fetch_or(&w->free_slots, 1ull << (slot - w->slots));
}

#endif
