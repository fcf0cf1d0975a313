// What refining and decontaminating need, on the network's grid: the guided filter's coefficients and the blur-fusion
// colours, in two launches; before them smoothing over time, after the first of them nothing reads the alpha again.
//
// The moments of the guided filter are whole numbers in 64 bits: alpha in 20 bits after the point, luma as it is
// (255 * 128 levels). Variance and covariance lose nothing to cancellation, and no order of sums changes them.
//
// Floor in bytes for 512 x 288 cells: alpha 0.59 MB, guide 0.44 MB in; slopes 0.59, coefficients 2.36, rows and
// colours of half the size 1.18 each, written once and read once: 11.6 MB, all of it in the second-level cache of a
// desktop GPU. On that grid work counts, not bytes: 25 cells a slope and a coefficient, 9 + 9 a colour.
#ifndef LIVECUT_SMALL_CUH
#define LIVECUT_SMALL_CUH

#include "types.cuh"

enum { LC_ALPHA_ONE = 1 << 20, LC_LUMA_ONE = 255 * 128 };

struct lc_cell {
    int alpha, luma;
};

LC_INLINE const void *lc_row_of(const void *base, lc_i64 stride, int y) {
    return (const lc_u8 *)base + y * stride;
}

// Alpha of a cell. When refining, what is nearly sure is sure.
LC_INLINE float lc_cell_alpha(const lc_small_args &a, int x, int y) {
    const float v = lc_unit(lc_raw_alpha(lc_row_of(a.alpha, a.alpha_stride, y), a.alpha_half, x));
    if (!a.refine) return v;
    return v < 1.0f / 255.0f ? 0.0f : v >= 254.0f / 255.0f ? 1.0f : v;
}

LC_INLINE int lc_cell_luma(const lc_small_args &a, int x, int y) {
    const lc_u8 *rgb = a.small + y * a.small_stride + 3 * x;
    return a.luma[0] * rgb[0] + a.luma[1] * rgb[1] + a.luma[2] * rgb[2];
}

LC_INLINE lc_cell lc_cell_of(const lc_small_args &a, int x, int y) {
    lc_cell cell;
    cell.alpha = (int)(lc_cell_alpha(a, x, y) * (float)LC_ALPHA_ONE + 0.5f);
    cell.luma = lc_cell_luma(a, x, y);
    return cell;
}

// Cells of a window of `radius` around `at`, cut off at the edges.
LC_INLINE int lc_window(int at, int radius, int n) {
    return lc_min(at + radius, n - 1) - lc_max(at - radius, 0) + 1;
}

struct lc_moments {
    lc_i64 luma, alpha, product, square;
};

LC_INLINE void lc_add(lc_moments &m, lc_cell cell) {
    m.luma += cell.luma, m.alpha += cell.alpha;
    m.product += (lc_i64)cell.luma * cell.alpha, m.square += (lc_i64)cell.luma * cell.luma;
}

// cov(luma, alpha) / (var(luma) + eps) within +-7, luma in 0..1.
LC_INLINE float lc_slope_of(lc_moments m, lc_i64 count, float eps) {
    const float unit = 1.0f / ((float)(count * count) * (float)LC_LUMA_ONE);
    const float covariance = (float)(count * m.product - m.luma * m.alpha) * unit * (1.0f / (float)LC_ALPHA_ONE);
    const float variance = (float)(count * m.square - m.luma * m.luma) * unit * (1.0f / (float)LC_LUMA_ONE);
    return lc_clip(covariance / (variance + eps), -7.0f, 7.0f);
}

// The guide's share of the first launch: slopes of LC_GRID_X x LC_GRID_Y cells. Up to LC_NEAR cells of radius the
// block reads its cells once into shared memory; beyond, each thread reads its own window.
LC_INLINE void lc_measure_guide(const lc_small_args &a, int block, lc_cell *cells) {
    const int across = (a.rw + LC_GRID_X - 1) / LC_GRID_X, r = a.radius;
    const int x0 = block % across * LC_GRID_X, y0 = block / across * LC_GRID_Y;
    const int x = x0 + threadIdx.x, y = y0 + threadIdx.y, near = r <= LC_NEAR;
    lc_moments m = {0, 0, 0, 0};
    if (near) {
        const int wide = LC_GRID_X + 2 * r, tall = LC_GRID_Y + 2 * r;
        for (int j = threadIdx.y; j < tall; j += LC_GRID_Y)
            for (int i = threadIdx.x; i < wide; i += LC_GRID_X) {
                const int cx = x0 + i - r, cy = y0 + j - r;
                lc_cell cell = {0, 0};  // counts nothing
                if (cx >= 0 && cx < a.rw && cy >= 0 && cy < a.rh) cell = lc_cell_of(a, cx, cy);
                cells[j * wide + i] = cell;
            }
        __syncthreads();
        for (int j = 0; j <= 2 * r; j++)
            for (int i = 0; i <= 2 * r; i++) lc_add(m, cells[(threadIdx.y + j) * wide + threadIdx.x + i]);
    }
    if (x >= a.rw || y >= a.rh) return;
    if (!near)
        for (int cy = lc_max(y - r, 0); cy <= lc_min(y + r, a.rh - 1); cy++)
            for (int cx = lc_max(x - r, 0); cx <= lc_min(x + r, a.rw - 1); cx++) lc_add(m, lc_cell_of(a, cx, cy));
    a.slope[(lc_i64)y * a.rw + x] = lc_slope_of(m, lc_window(x, r, a.rw) * lc_window(y, r, a.rh), a.eps);
}

LC_INLINE void lc_accumulate(float4 &sum, float4 v) { sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w; }

// A cell of the half-size grid: the mean of 2 x 2 (edges repeat) of the colours weighed by the fourth power of alpha
// and of 1 - alpha, and of those weights.
LC_INLINE void lc_weigh(const lc_small_args &a, int x, int y, float4 *front, float4 *back) {
    *front = *back = lc_four(0.0f, 0.0f, 0.0f, 0.0f);
    for (int k = 0; k < 4; k++) {
        const int cx = lc_min(2 * x + (k & 1), a.rw - 1), cy = lc_min(2 * y + (k >> 1), a.rh - 1);
        const float alpha = lc_cell_alpha(a, cx, cy), rest = 1.0f - alpha;
        const float f = alpha * alpha * alpha * alpha * 0.25f, b = rest * rest * rest * rest * 0.25f;
        const lc_u8 *rgb = a.small + cy * a.small_stride + 3 * cx;
        const float red = (float)rgb[0], green = (float)rgb[1], blue = (float)rgb[2];
        lc_accumulate(*front, lc_four(f * red, f * green, f * blue, f));
        lc_accumulate(*back, lc_four(b * red, b * green, b * blue, b));
    }
}

// The colours' share of the first launch: sums along rows. Each thread weighs its cells, then sums its neighbours'.
LC_INLINE void lc_measure_colours(const lc_small_args &a, int block, float4 *weighed) {
    const int across = (a.fw + LC_GRID_X - 1) / LC_GRID_X, r = a.fusion_radius, wide = LC_GRID_X + 2 * r;
    const int x0 = block % across * LC_GRID_X, y = block / across * LC_GRID_Y + threadIdx.y;
    float4 *mine = weighed + threadIdx.y * wide * 2;
    for (int i = threadIdx.x; i < wide; i += LC_GRID_X) {
        const int x = x0 + i - r;
        float4 front = lc_four(0.0f, 0.0f, 0.0f, 0.0f), back = front;
        if (x >= 0 && x < a.fw && y < a.fh) lc_weigh(a, x, y, &front, &back);
        mine[2 * i] = front, mine[2 * i + 1] = back;
    }
    __syncthreads();
    const int x = x0 + threadIdx.x;
    if (x >= a.fw || y >= a.fh) return;
    float4 front = lc_four(0.0f, 0.0f, 0.0f, 0.0f), back = front;
    for (int i = threadIdx.x; i <= (int)threadIdx.x + 2 * r; i++) {
        lc_accumulate(front, mine[2 * i]);
        lc_accumulate(back, mine[2 * i + 1]);
    }
    float4 *to = a.rows + 2 * ((lc_i64)y * a.fw + x);
    to[0] = front, to[1] = back;
}

// Blocks below guide_blocks find slopes, the others sum colours: neither waits for the other, and one launch does.
LC_KERNEL lc_measure(lc_small_args a) {
    LC_DYNAMIC_SHARED(float4, shared);
    if ((int)blockIdx.x < a.guide_blocks)
        lc_measure_guide(a, blockIdx.x, (lc_cell *)shared);
    else
        lc_measure_colours(a, blockIdx.x - a.guide_blocks, shared);
}

// A = box mean of the slopes; B = alpha - A luma, so that A luma + B gives the cell its own alpha back; and the least
// and greatest alpha around.
LC_INLINE float4 lc_coefficients(const lc_small_args &a, int x, int y) {
    const float alpha = lc_cell_alpha(a, x, y);
    lc_note(a.status, lc_raw_alpha(lc_row_of(a.alpha, a.alpha_stride, y), a.alpha_half, x), a.slack);
    if (!a.refine) return lc_four(0.0f, alpha, alpha, alpha);
    const int r = a.radius;
    float sum = 0.0f, low = alpha, high = alpha;
    for (int cy = lc_max(y - r, 0); cy <= lc_min(y + r, a.rh - 1); cy++) {
        float row = 0.0f;
        for (int cx = lc_max(x - r, 0); cx <= lc_min(x + r, a.rw - 1); cx++) row += a.slope[(lc_i64)cy * a.rw + cx];
        sum += row;
    }
    for (int cy = lc_max(y - 1, 0); cy <= lc_min(y + 1, a.rh - 1); cy++)
        for (int cx = lc_max(x - 1, 0); cx <= lc_min(x + 1, a.rw - 1); cx++) {
            const float v = lc_cell_alpha(a, cx, cy);
            low = fminf(low, v), high = fmaxf(high, v);
        }
    const float slope = sum / (float)(lc_window(x, r, a.rw) * lc_window(y, r, a.rh));
    return lc_four(slope, alpha - slope * ((float)lc_cell_luma(a, x, y) * (1.0f / (float)LC_LUMA_ONE)), low, high);
}

LC_INLINE float4 lc_colour_of(const lc_small_args &a, float4 sum, float4 all) {
    const float over = 1.0f / (sum.w + 1e-4f * all.w);
    const float rgb[3] = {(sum.x + 1e-4f * all.x) * over, (sum.y + 1e-4f * all.y) * over,
                          (sum.z + 1e-4f * all.z) * over};
    if (!a.colours_yuv) return lc_four(rgb[0], rgb[1], rgb[2], 0.0f);
    return lc_four(lc_rgb_to(a.to_yuv, 0, rgb), lc_rgb_to(a.to_yuv, 1, rgb), lc_rgb_to(a.to_yuv, 2, rgb), 0.0f);
}

// The second launch: coefficients, and the sums along columns divided into colours. Where a side has no weight the
// plain mean of the window stands in.
LC_KERNEL lc_solve(lc_small_args a) {
    const int colours = (int)blockIdx.x >= a.guide_blocks, block = blockIdx.x - (colours ? a.guide_blocks : 0);
    const int w = colours ? a.fw : a.rw, h = colours ? a.fh : a.rh, across = (w + LC_GRID_X - 1) / LC_GRID_X;
    const int x = block % across * LC_GRID_X + threadIdx.x, y = block / across * LC_GRID_Y + threadIdx.y;
    if (x >= w || y >= h) return;
    if (!colours) {
        a.coefficients[(lc_i64)y * w + x] = lc_coefficients(a, x, y);
        return;
    }
    const int r = a.fusion_radius;
    float4 front = lc_four(0.0f, 0.0f, 0.0f, 0.0f), back = front;
    for (int cy = lc_max(y - r, 0); cy <= lc_min(y + r, h - 1); cy++) {
        const float4 *row = a.rows + 2 * ((lc_i64)cy * w + x);
        lc_accumulate(front, row[0]);
        lc_accumulate(back, row[1]);
    }
    float4 all = front;
    lc_accumulate(all, back);
    float4 *to = a.colours + 2 * ((lc_i64)y * w + x);
    to[0] = lc_colour_of(a, front, all), to[1] = lc_colour_of(a, back, all);
}

// Smoothing over time, see TemporalSmoother: each alpha is mixed with the one put out before, less so where luma moved
// or alpha jumped in the 3 x 3 around. 0.59 MB of alpha, 0.44 of guide, 0.74 of memory in; 0.59 out: 2.4 MB.
LC_INLINE float lc_smoothstep(float v, float low, float high) {
    const float t = lc_clip((v - low) / (high - low), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

LC_INLINE int lc_small_luma(const lc_smooth_args &a, int x, int y) {
    const lc_u8 *rgb = a.small + y * a.small_stride + 3 * x;
    return (38 * rgb[0] + 75 * rgb[1] + 15 * rgb[2] + 64) >> 7;
}

LC_KERNEL lc_smooth(lc_smooth_args a) {
    const int x = blockIdx.x * LC_GRID_X + threadIdx.x, y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    if (x >= a.w || y >= a.h) return;
    const float raw = lc_raw_alpha(lc_row_of(a.alpha, a.alpha_stride, y), a.alpha_half, x), alpha = lc_unit(raw);
    lc_note(a.status, raw, a.slack);
    const lc_i64 here = (lc_i64)y * a.w + x;
    if (!*a.seen) {
        a.out[here] = alpha;
        return;
    }
    int moved = 0, jumped = 0;
    for (int k = 0; k < 9; k++) {
        const int cx = lc_clamp(x + k % 3 - 1, 0, a.w - 1), cy = lc_clamp(y + k / 3 - 1, 0, a.h - 1);
        const lc_i64 at = (lc_i64)cy * a.w + cx;
        const int luma = lc_small_luma(a, cx, cy) - a.luma[at];
        const float other = lc_unit(lc_raw_alpha(lc_row_of(a.alpha, a.alpha_stride, cy), a.alpha_half, cx));
        moved += luma < 0 ? -luma : luma;
        jumped += (int)(fabsf(other - a.previous[at]) * 255.0f + 0.5f);
    }
    const float believed = fmaxf(lc_smoothstep((float)moved * (1.0f / 9.0f), a.still, a.moving),
                                 lc_smoothstep((float)jumped * (1.0f / 9.0f), a.steady, a.jump));
    const float weight = a.base + (1.0f - a.base) * believed;
    a.out[here] = a.previous[here] + weight * (alpha - a.previous[here]);
}

// The frame just smoothed becomes the one before. A launch of its own: neighbours read what it overwrites.
LC_KERNEL lc_remember(lc_smooth_args a) {
    const int x = blockIdx.x * LC_GRID_X + threadIdx.x, y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    if (x >= a.w || y >= a.h) return;
    const lc_i64 here = (lc_i64)y * a.w + x;
    a.previous[here] = a.out[here];
    a.luma[here] = (lc_u8)lc_small_luma(a, x, y);
    if (!here) *a.seen = 1;
}

// One box pass of the blurred background along one axis; three of each make a blur. Cells are R, G, B.
LC_KERNEL lc_blur(lc_blur_args a) {
    const int x = blockIdx.x * LC_GRID_X + threadIdx.x, y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    if (x >= a.rw || y >= a.rh) return;
    const int at = a.down ? y : x, n = a.down ? a.rh : a.rw;
    const int first = lc_max(at - a.radius, 0), last = lc_min(at + a.radius, n - 1);
    float4 sum = lc_four(0.0f, 0.0f, 0.0f, 0.0f);
    for (int k = first; k <= last; k++) {
        const int cx = a.down ? x : k, cy = a.down ? k : y;
        if (a.small) {
            const lc_u8 *rgb = a.small + cy * a.small_stride + 3 * cx;
            lc_accumulate(sum, lc_four((float)rgb[0], (float)rgb[1], (float)rgb[2], 0.0f));
        } else {
            lc_accumulate(sum, a.from[(lc_i64)cy * a.rw + cx]);
        }
    }
    const float over = 1.0f / (float)(last - first + 1);
    a.to[(lc_i64)y * a.rw + x] = lc_four(sum.x * over, sum.y * over, sum.z * over, 0.0f);
}

#endif
