// Four pixels of a row at a time: between packed or planar pictures and R, G, B; and what is enlarged under them.
#ifndef LIVECUT_PIXELS_CUH
#define LIVECUT_PIXELS_CUH

#include "types.cuh"

enum { LC_PIXELS = 4 };  // of a thread: 3, 4, 1 or 2 words

// Where output `i` of n_out lies on a grid of n_in / step cells, half-pixel centres: cell `at`, and how far it is
// towards the next one. The remainder is exact; only its quotient rounds.
struct lc_place {
    int at;
    float weight;
};

LC_INLINE lc_place lc_place_of(int i, int n_out, int n_in, int step, int cells) {
    const int whole = 2 * step * n_out, centre = lc_max((2 * i + 1) * n_in - step * n_out, 0);
    lc_place place;
    place.at = (int)((float)centre / (float)whole);
    place.weight = (float)(centre - place.at * whole) / (float)whole;
    if (place.at >= cells - 1) place.at = cells - 1, place.weight = 0.0f;
    return place;
}

// A row between two rows of a grid of float4, `pitch` of them to a cell, read left to right.
struct lc_line {
    const float4 *top, *bottom;
    float weight;
    int cells, pitch, at;  // at: the column in `left`; -2 before the first
    float4 left, right;
};

LC_INLINE lc_line lc_line_of(const float4 *grid, int pitch, lc_place row, int cells, int rows) {
    lc_line line;
    line.top = grid + (lc_i64)row.at * cells * pitch;
    line.bottom = grid + (lc_i64)lc_min(row.at + 1, rows - 1) * cells * pitch;
    line.weight = row.weight, line.cells = cells, line.pitch = pitch, line.at = -2;
    line.left = line.right = lc_four(0.0f, 0.0f, 0.0f, 0.0f);
    return line;
}

LC_INLINE float4 lc_column(const lc_line &line, int x) {
    return lc_lerp4(line.top[x * line.pitch], line.bottom[x * line.pitch], line.weight);
}

LC_INLINE float4 lc_read(lc_line &line, lc_place place) {
    if (place.at != line.at) {
        line.left = place.at == line.at + 1 ? line.right : lc_column(line, place.at);
        line.right = lc_column(line, lc_min(place.at + 1, line.cells - 1));
        line.at = place.at;
    }
    return lc_lerp4(line.left, line.right, place.weight);
}

// `count` words from p, of which `bytes` bytes are there.
template <int count>
LC_INLINE void lc_load(const lc_u8 *p, int bytes, int words, lc_u32 *to) {
    for (int k = 0; k < count; k++) {
        if (words && bytes >= 4 * count) {
            to[k] = ((const lc_u32 *)p)[k];
            continue;
        }
        to[k] = 0;
        for (int i = 0; i < 4; i++)
            if (4 * k + i < bytes) to[k] |= (lc_u32)p[4 * k + i] << (8 * i);
    }
}

template <int count>
LC_INLINE void lc_store(lc_u8 *p, int bytes, int words, const lc_u32 *from) {
    for (int k = 0; k < count; k++) {
        if (words && bytes >= 4 * count) {
            ((lc_u32 *)p)[k] = from[k];
            continue;
        }
        for (int i = 0; i < 4; i++)
            if (4 * k + i < bytes) p[4 * k + i] = (lc_u8)(from[k] >> (8 * i));
    }
}

LC_INLINE float lc_byte(const lc_u32 *words, int i) { return (float)(words[i >> 2] >> (8 * (i & 3)) & 255); }

LC_INLINE void lc_set_byte(lc_u32 *words, int i, float v) { words[i >> 2] |= (lc_u32)lc_round(v) << (8 * (i & 3)); }

// The three bytes from i on as R, G, B, and back. Selects rather than indices: arrays stay in registers.
LC_INLINE void lc_name(const lc_u32 *words, int i, int blue_first, float *rgb) {
    const float first = lc_byte(words, i), third = lc_byte(words, i + 2);
    rgb[0] = blue_first ? third : first, rgb[1] = lc_byte(words, i + 1), rgb[2] = blue_first ? first : third;
}

LC_INLINE void lc_unname(lc_u32 *words, int i, int blue_first, const float *rgb) {
    lc_set_byte(words, i, blue_first ? rgb[2] : rgb[0]);
    lc_set_byte(words, i + 1, rgb[1]);
    lc_set_byte(words, i + 2, blue_first ? rgb[0] : rgb[2]);
}

// n (at most 4) pixels of three channels at p, as R, G, B.
LC_INLINE void lc_load_packed3(const lc_u8 *p, int n, int words, int blue_first, float rgb[][3]) {
    lc_u32 raw[3];
    lc_load<3>(p, 3 * n, words, raw);
    for (int k = 0; k < LC_PIXELS; k++) lc_name(raw, 3 * k, blue_first, rgb[k]);
}

LC_INLINE void lc_load_packed4(const lc_u8 *p, int n, int words, int blue_first, float rgb[][3]) {
    lc_u32 raw[4];
    lc_load<4>(p, 4 * n, words, raw);
    for (int k = 0; k < LC_PIXELS; k++) lc_name(raw, 4 * k, blue_first, rgb[k]);
}

LC_INLINE void lc_load_plane(const lc_u8 *p, int n, int words, float *v) {
    lc_u32 raw[1];
    lc_load<1>(p, n, words, raw);
    for (int k = 0; k < LC_PIXELS; k++) v[k] = lc_byte(raw, k);
}

// U and V under columns x .. x + 3 (x even) of row y of a planar frame: two of each.
LC_INLINE void lc_load_chroma(const lc_planes &in, int format, int width, int x, int y, float *u, float *v) {
    const int half = (width + 1) / 2;
    for (int k = 0; k < 2; k++) {
        const int i = lc_min(x / 2 + k, half - 1);
        const lc_u8 *row = in.at[1] + (y / 2) * in.stride[1];
        u[k] = (float)(format == LC_NV12 ? row[2 * i] : row[i]);
        v[k] = (float)(format == LC_NV12 ? row[2 * i + 1] : (in.at[2] + (y / 2) * in.stride[2])[i]);
    }
}

// Columns x .. x + n - 1 of row y of the frame as R, G, B; luma of a planar one goes to y4.
LC_INLINE void lc_load_rgb(const lc_composite_args &a, int x, int y, int n, float rgb[][3], float *y4) {
    const lc_u8 *row = a.in.at[0] + y * a.in.stride[0];
    if (a.in_format == LC_BGR || a.in_format == LC_RGB) {
        lc_load_packed3(row + 3 * x, n, a.in_words, a.in_format == LC_BGR, rgb);
    } else if (a.in_format == LC_BGRA || a.in_format == LC_RGBA) {
        lc_load_packed4(row + 4 * x, n, a.in_words, a.in_format == LC_BGRA, rgb);
    } else {
        float u[2], v[2];
        lc_load_plane(row + x, n, a.in_words, y4);
        lc_load_chroma(a.in, a.in_format, a.width, x, y, u, v);
        for (int k = 0; k < LC_PIXELS; k++) lc_yuv_to_rgb(a.yuv, y4[k], u[k >> 1], v[k >> 1], rgb[k]);
    }
}

// The guide at a pixel, 0..1: luma of a packed frame, Y of a planar one.
LC_INLINE float lc_guide(const lc_composite_args &a, const float *rgb, float y) {
    if (a.in_format == LC_I420 || a.in_format == LC_NV12)
        return lc_clip(y * a.guide_scale + a.guide_offset, 0.0f, 1.0f);
    return a.luma[0] * rgb[0] + a.luma[1] * rgb[1] + a.luma[2] * rgb[2];
}

// Coefficients under n columns from x: A, B, low, high. Returns 0 where no frame shows, 2 where nothing else does,
// 1 where both may.
LC_INLINE int lc_load_coefficients(const lc_composite_args &a, int x, lc_place row, int n, float4 *at) {
    lc_line line = lc_line_of(a.coefficients, 1, row, a.rw, a.rh);
    float least = 1.0f, most = 0.0f;
    for (int k = 0; k < LC_PIXELS; k++) {
        if (k < n) at[k] = lc_read(line, lc_place_of(x + k, a.width, a.rw, 1, a.rw));
        else at[k] = at[0];
        least = fminf(least, at[k].z), most = fmaxf(most, at[k].w);
    }
    return most <= 0.0f ? 0 : least >= 1.0f ? 2 : 1;
}

// Alpha of a pixel: A guide + B within its envelope.
LC_INLINE float lc_alpha_of(float4 at, float guide) { return lc_clip(at.x * guide + at.y, at.z, at.w); }

// Round alpha to 8 bits and multiply it by another, rounding again.
LC_INLINE float lc_multiply(float alpha, float other) {
    return rintf(rintf(alpha * 255.0f) * other / 255.0f) * (1.0f / 255.0f);
}

// F = F^ + a (I - a F^ - (1 - a) B^)
LC_INLINE float lc_unmix(float level, float alpha, float front, float back) {
    return lc_clip(front + alpha * (level - alpha * front - (1.0f - alpha) * back), 0.0f, 255.0f);
}

#endif
