// The full-resolution work: alpha along the frame's edges, the foreground's own colour, and the output. A thread makes
// four pixels of a row (of two rows where chroma is halved), reads only what shows, and writes each byte once, so the
// output may be the frame or the background itself.
//
// Floors in bytes at 1080p, from a 512 x 288 grid whose 2.4 + 1.2 MB stay in the second-level cache:
//   RGB over a colour      6.22 in + 6.22 out            = 12.4 MB
//   RGB over a picture     6.22 in + 6.22 + 6.22 out     = 18.7 MB
//   straight RGBA          6.22 in + 8.29 out            = 14.5 MB
//   alpha alone            6.22 in + 2.07 out            =  8.3 MB (2.07 from Y, or without refining)
//   I420 from NV12         3.11 in + 3.11 (+ 3.11) out   =  6.2 (9.3) MB
//   YUVA420 from NV12      3.11 in + 5.18 out            =  8.3 MB
#ifndef LIVECUT_COMPOSITE_CUH
#define LIVECUT_COMPOSITE_CUH

#include "pixels.cuh"

// Alphas of n pixels under coefficients `at`, the input's own multiplied in.
LC_INLINE void lc_alphas(const lc_composite_args &a, int x, int y, int n, const float4 *at, const float rgb[][3],
                         const float *y4, float *alpha) {
    for (int k = 0; k < LC_PIXELS; k++) alpha[k] = lc_alpha_of(at[k], lc_guide(a, rgb[k], y4[k]));
    if (!a.input_alpha) return;
    float other[LC_PIXELS];
    lc_load_plane(a.input_alpha + y * a.input_alpha_stride + x, n, 0, other);
    for (int k = 0; k < LC_PIXELS; k++) alpha[k] = lc_multiply(alpha[k], other[k]);
}

// Take the old background's share out of n pixels of row y.
LC_INLINE void lc_decontaminate(const lc_composite_args &a, int x, int y, int n, const float *alpha, float rgb[][3]) {
    const lc_place row = lc_place_of(y, a.height, a.rh, 2, a.fh);
    lc_line front = lc_line_of(a.colours, 2, row, a.fw, a.fh), back = lc_line_of(a.colours + 1, 2, row, a.fw, a.fh);
    for (int k = 0; k < LC_PIXELS; k++) {
        if (k >= n || alpha[k] >= 1.0f) continue;
        const lc_place place = lc_place_of(x + k, a.width, a.rw, 2, a.fw);
        const float4 f = lc_read(front, place), b = lc_read(back, place);
        rgb[k][0] = lc_unmix(rgb[k][0], alpha[k], f.x, b.x);
        rgb[k][1] = lc_unmix(rgb[k][1], alpha[k], f.y, b.y);
        rgb[k][2] = lc_unmix(rgb[k][2], alpha[k], f.z, b.z);
    }
}

// n pixels of what lies behind, R, G, B.
LC_INLINE void lc_load_background(const lc_composite_args &a, int x, int y, int n, float rgb[][3]) {
    if (a.background_kind == LC_PACKED) {
        const lc_u8 *row = a.background.at[0] + y * a.background.stride[0];
        lc_load_packed3(row + 3 * x, n, a.background_words, a.out_format == LC_BGR, rgb);
    } else if (a.background_kind == LC_BLURRED) {
        lc_line line = lc_line_of(a.blurred, 1, lc_place_of(y, a.height, a.rh, 1, a.rh), a.rw, a.rh);
        for (int k = 0; k < LC_PIXELS; k++) {
            const float4 v = lc_read(line, lc_place_of(lc_min(x + k, a.width - 1), a.width, a.rw, 1, a.rw));
            rgb[k][0] = rintf(v.x), rgb[k][1] = rintf(v.y), rgb[k][2] = rintf(v.z);
        }
    } else {
        for (int k = 0; k < LC_PIXELS; k++)
            for (int c = 0; c < 3; c++) rgb[k][c] = a.colour[c];
    }
}

// Coefficients, pixels, alphas and decontaminated colours of n pixels. Returns 0 where nothing of the frame shows.
LC_INLINE int lc_foreground(const lc_composite_args &a, int x, int y, int n, float rgb[][3], float *alpha) {
    float4 at[LC_PIXELS];
    float y4[LC_PIXELS] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (!lc_load_coefficients(a, x, lc_place_of(y, a.height, a.rh, 1, a.rh), n, at)) return 0;
    lc_load_rgb(a, x, y, n, rgb, y4);
    lc_alphas(a, x, y, n, at, rgb, y4, alpha);
    if (a.decontaminate) lc_decontaminate(a, x, y, n, alpha, rgb);
    return 1;
}

// RGB or BGR over a background. grid: width in fours in LC_GRID_X, height in LC_GRID_Y
LC_KERNEL lc_composite_packed(lc_composite_args a) {
    const int x = LC_PIXELS * (blockIdx.x * LC_GRID_X + threadIdx.x), y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    const int n = lc_min(LC_PIXELS, a.width - x), blue_first = a.out_format == LC_BGR;
    if (n <= 0 || y >= a.height) return;
    float rgb[LC_PIXELS][3], back[LC_PIXELS][3], alpha[LC_PIXELS] = {0.0f, 0.0f, 0.0f, 0.0f};
    const int shows = lc_foreground(a, x, y, n, rgb, alpha);
    const int covers = alpha[0] >= 1.0f && alpha[1] >= 1.0f && alpha[2] >= 1.0f && alpha[3] >= 1.0f;
    if (!covers) lc_load_background(a, x, y, n, back);
    lc_u32 out[3] = {0, 0, 0};
    for (int k = 0; k < LC_PIXELS; k++) {
        float mixed[3];
        for (int c = 0; c < 3; c++)
            mixed[c] = covers ? rgb[k][c] : shows ? lc_lerp(back[k][c], rgb[k][c], alpha[k]) : back[k][c];
        lc_unname(out, 3 * k, blue_first, mixed);
    }
    lc_store<3>(a.out.at[0] + y * a.out.stride[0] + 3 * x, 3 * n, a.out_words, out);
}

// RGBA or BGRA, straight: the colour is not multiplied by alpha; 0 where nothing shows. The same grid.
LC_KERNEL lc_composite_straight(lc_composite_args a) {
    const int x = LC_PIXELS * (blockIdx.x * LC_GRID_X + threadIdx.x), y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    const int n = lc_min(LC_PIXELS, a.width - x), blue_first = a.out_format == LC_BGRA;
    if (n <= 0 || y >= a.height) return;
    float rgb[LC_PIXELS][3], alpha[LC_PIXELS] = {0.0f, 0.0f, 0.0f, 0.0f};
    const int shows = lc_foreground(a, x, y, n, rgb, alpha);
    lc_u32 out[4] = {0, 0, 0, 0};
    for (int k = 0; k < LC_PIXELS; k++) {
        if (!shows || alpha[k] <= 0.0f) continue;
        lc_unname(out, 4 * k, blue_first, rgb[k]);
        lc_set_byte(out, 4 * k + 3, alpha[k] * 255.0f);
    }
    lc_store<4>(a.out.at[0] + y * a.out.stride[0] + 4 * x, 4 * n, a.out_words, out);
}

// Alpha alone. A frame without planes has no guide: its alpha is bilinear. The same grid.
LC_KERNEL lc_composite_alpha(lc_composite_args a) {
    const int x = LC_PIXELS * (blockIdx.x * LC_GRID_X + threadIdx.x), y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    const int n = lc_min(LC_PIXELS, a.width - x);
    if (n <= 0 || y >= a.height) return;
    float4 at[LC_PIXELS];
    float rgb[LC_PIXELS][3] = {}, y4[LC_PIXELS] = {}, alpha[LC_PIXELS] = {};
    if (lc_load_coefficients(a, x, lc_place_of(y, a.height, a.rh, 1, a.rh), n, at)) {
        if (a.in.at[0]) {
            if (a.in_format == LC_I420 || a.in_format == LC_NV12)
                lc_load_plane(a.in.at[0] + y * a.in.stride[0] + x, n, a.in_words, y4);
            else
                lc_load_rgb(a, x, y, n, rgb, y4);
        }
        lc_alphas(a, x, y, n, at, rgb, y4, alpha);
    }
    lc_u32 out[1] = {0};
    for (int k = 0; k < LC_PIXELS; k++) lc_set_byte(out, k, alpha[k] * 255.0f);
    lc_store<1>(a.out.at[0] + y * a.out.stride[0] + x, n, a.out_words, out);
}

// out = round((image * alpha + background * (255 - alpha)) / 255), exactly. Reads 6.22 + 6.22 + 2.07, writes 6.22 MB
// at 1080p. The same grid.
LC_KERNEL lc_over(lc_over_args a) {
    const int x = LC_PIXELS * (blockIdx.x * LC_GRID_X + threadIdx.x), y = blockIdx.y * LC_GRID_Y + threadIdx.y;
    const int n = lc_min(LC_PIXELS, a.width - x);
    if (n <= 0 || y >= a.height) return;
    const lc_u8 *image = a.image + y * a.image_stride + 3 * x, *behind = a.background + y * a.background_stride + 3 * x;
    const lc_u8 *alpha = a.alpha + y * a.alpha_stride + x;
    lc_u8 *out = a.out + y * a.out_stride + 3 * x;
    for (int i = 0; i < 3 * n; i++) {
        const int opacity = alpha[i / 3];
        out[i] = (lc_u8)((image[i] * opacity + behind[i] * (255 - opacity) + 127) / 255);
    }
}

#endif
