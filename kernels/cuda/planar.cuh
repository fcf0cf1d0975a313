// I420 and YUVA420: pairs of rows, four columns a thread. Blending happens in YUV; chroma is the mean of 2 x 2 pixels,
// blended by the mean of their alphas. A planar frame never becomes RGB.
#ifndef LIVECUT_PLANAR_CUH
#define LIVECUT_PLANAR_CUH

#include "composite.cuh"

// Y of two rows, U and V of two columns each: what a thread reads, or makes.
struct lc_patch {
    float y[2][LC_PIXELS], uv[2][2];  // uv[0] is U
};

// The mean of the 2 x 2 under chroma sample j; the last column
// repeats where there is no other, as does the last row.
LC_INLINE float lc_quarter(const float v[2][LC_PIXELS], int j, int n) {
    const float left = v[0][2 * j] + v[1][2 * j], right = v[0][2 * j + 1] + v[1][2 * j + 1];
    return 0.25f * (left + (2 * j + 1 < n ? right : left));
}

// Two rows of R, G, B as a patch.
LC_INLINE void lc_to_patch(const float *to_yuv, const float rgb[2][LC_PIXELS][3], int n, lc_patch *out) {
    float plane[2][LC_PIXELS];
    LC_UNROLL
    for (int c = 0; c < 3; c++) {
        LC_UNROLL
        for (int i = 0; i < 2; i++)
            LC_UNROLL
            for (int k = 0; k < LC_PIXELS; k++) {
                const float v = lc_rgb_to(to_yuv, c, rgb[i][k]);
                if (c == 0) out->y[i][k] = v;
                plane[i][k] = v;
            }
        if (c == 0) continue;
        out->uv[c - 1][0] = lc_quarter(plane, 0, n), out->uv[c - 1][1] = lc_quarter(plane, 1, n);
    }
}

LC_INLINE void lc_black(const float *to_yuv, lc_patch *out) {
    LC_UNROLL
    for (int k = 0; k < LC_PIXELS; k++) out->y[0][k] = out->y[1][k] = to_yuv[3];
    out->uv[0][0] = out->uv[0][1] = to_yuv[7], out->uv[1][0] = out->uv[1][1] = to_yuv[11];
}

LC_INLINE void lc_background_patch(const lc_composite_args &a, int x, int y, int second, int n, lc_patch *out) {
    if (a.background_kind == LC_PLANES) {
        LC_UNROLL
        for (int i = 0; i < 2; i++) {
            const lc_u8 *row = a.background.at[0] + (i ? second : y) * a.background.stride[0];
            lc_load_plane(row + x, n, a.background_words, out->y[i]);
        }
        lc_load_chroma(a.background, LC_I420, a.width, x, y, out->uv[0], out->uv[1]);
    } else if (a.background_kind == LC_COLOUR) {
        LC_UNROLL
        for (int i = 0; i < 2; i++)
            LC_UNROLL
            for (int k = 0; k < LC_PIXELS; k++) out->y[i][k] = a.colour[0];
        LC_UNROLL
        for (int c = 0; c < 2; c++) out->uv[c][0] = out->uv[c][1] = a.colour[c + 1];
    } else {
        float rgb[2][LC_PIXELS][3];
        LC_UNROLL
        for (int i = 0; i < 2; i++) lc_load_background(a, x, i ? second : y, n, rgb[i]);
        lc_to_patch(a.to_yuv, rgb, n, out);
    }
}

// Take the old background's share out of a patch of a planar frame. Chroma takes the colour of its upper left pixel,
// which hardly differs: the grids are smooth.
LC_INLINE void lc_unmix_patch(const lc_composite_args &a, int x, int y, int second, int n,
                              const float alpha[2][LC_PIXELS], const float *opacity, lc_patch *p) {
    LC_UNROLL
    for (int i = 0; i < 2; i++) {
        const lc_place row = lc_place_of(i ? second : y, a.height, a.rh, 2, a.fh);
        lc_line front = lc_line_of(a.colours, 2, row, a.fw, a.fh), back = lc_line_of(a.colours + 1, 2, row, a.fw, a.fh);
        LC_UNROLL
        for (int k = 0; k < LC_PIXELS; k++) {
            if (k >= n) continue;
            const lc_place place = lc_place_of(x + k, a.width, a.rw, 2, a.fw);
            const float4 f = lc_read(front, place), b = lc_read(back, place);
            p->y[i][k] = lc_unmix(p->y[i][k], alpha[i][k], f.x, b.x);
            if (i || k & 1) continue;
            p->uv[0][k >> 1] = lc_unmix(p->uv[0][k >> 1], opacity[k >> 1], f.y, b.y);
            p->uv[1][k >> 1] = lc_unmix(p->uv[1][k >> 1], opacity[k >> 1], f.z, b.z);
        }
    }
}

// The frame's patch and its alphas. Returns 0 where nothing of it shows.
LC_INLINE int lc_foreground_patch(const lc_composite_args &a, int x, int y, int second, int n, lc_patch *p,
                                  float alpha[2][LC_PIXELS], float *opacity) {
    const int planar = a.in_format == LC_I420 || a.in_format == LC_NV12;
    float4 at[2][LC_PIXELS];
    float rgb[2][LC_PIXELS][3];
    int shows = 0;
    LC_UNROLL
    for (int i = 0; i < 2; i++)
        shows |= lc_load_coefficients(a, x, lc_place_of(i ? second : y, a.height, a.rh, 1, a.rh), n, at[i]);
    if (!shows) return 0;
    LC_UNROLL
    for (int i = 0; i < 2; i++) {
        const int row = i ? second : y;
        if (planar)
            lc_load_plane(a.in.at[0] + row * a.in.stride[0] + x, n, a.in_words, p->y[i]);
        else
            lc_load_rgb(a, x, row, n, rgb[i], p->y[i]);
        lc_alphas(a, x, row, n, at[i], rgb[i], p->y[i], alpha[i]);
    }
    opacity[0] = lc_quarter(alpha, 0, n), opacity[1] = lc_quarter(alpha, 1, n);
    if (planar) {
        lc_load_chroma(a.in, a.in_format, a.width, x, y, p->uv[0], p->uv[1]);
        if (a.decontaminate) lc_unmix_patch(a, x, y, second, n, alpha, opacity, p);
        return 1;
    }
    if (a.decontaminate) {
        lc_decontaminate(a, x, y, n, alpha[0], rgb[0]);
        lc_decontaminate(a, x, second, n, alpha[1], rgb[1]);
    }
    lc_to_patch(a.to_yuv, rgb, n, p);
    return 1;
}

// I420 over a background, or YUVA420, straight. grid: width in fours in LC_GRID_X, height in pairs in LC_GRID_Y
LC_KERNEL lc_composite_planar(lc_composite_args a) {
    const int x = LC_PIXELS * (blockIdx.x * LC_GRID_X + threadIdx.x), y = 2 * (blockIdx.y * LC_GRID_Y + threadIdx.y);
    const int n = lc_min(LC_PIXELS, a.width - x), second = lc_min(y + 1, a.height - 1);
    if (n <= 0 || y >= a.height) return;
    lc_patch front = {}, back = {};
    float alpha[2][LC_PIXELS] = {}, opacity[2] = {};
    const int shows = lc_foreground_patch(a, x, y, second, n, &front, alpha, opacity);
    const int over = a.out_format == LC_I420;
    if (over && !(opacity[0] >= 1.0f && opacity[1] >= 1.0f)) lc_background_patch(a, x, y, second, n, &back);
    if (!over && !shows) lc_black(a.to_yuv, &front);
    LC_UNROLL
    for (int i = 0; i < 2; i++) {
        if (i && second == y) continue;
        lc_u32 luma = 0, coverage = 0;
        LC_UNROLL
        for (int k = 0; k < LC_PIXELS; k++) {
            const float v = over ? lc_lerp(back.y[i][k], front.y[i][k], alpha[i][k]) : front.y[i][k];
            lc_set_byte(&luma, k, lc_clip(v, 0.0f, 255.0f));
            lc_set_byte(&coverage, k, alpha[i][k] * 255.0f);
        }
        lc_store<1>(a.out.at[0] + (y + i) * a.out.stride[0] + x, n, a.out_words, &luma);
        if (!over) lc_store<1>(a.out.at[3] + (y + i) * a.out.stride[3] + x, n, a.out_words, &coverage);
    }
    LC_UNROLL
    for (int c = 0; c < 2; c++) {
        lc_u8 *to = a.out.at[c + 1] + (y / 2) * a.out.stride[c + 1] + x / 2;
        LC_UNROLL
        for (int j = 0; j < 2; j++) {
            if (2 * j >= n) continue;
            const float v = over ? lc_lerp(back.uv[c][j], front.uv[c][j], opacity[j]) : front.uv[c][j];
            to[j] = lc_round(lc_clip(v, 0.0f, 255.0f));
        }
    }
}

#endif
