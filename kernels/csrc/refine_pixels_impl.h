/* Pixels between packed or planar pictures and rows of single channels. Included once per instruction set. */

static void LC_NAME(split3)(const uint8_t *restrict src, uint8_t *restrict a, uint8_t *restrict b,
                            uint8_t *restrict c, int n) {
    int x = 0;
#if LC_X86 && defined(__AVX2__)
    x = LC_NAME(split3_wide)(src, a, b, c, n);
#endif
    for (; x < n; x++) {
        a[x] = src[3 * x];
        b[x] = src[3 * x + 1];
        c[x] = src[3 * x + 2];
    }
}

static void LC_NAME(split4)(const uint8_t *restrict src, uint8_t *restrict a, uint8_t *restrict b,
                            uint8_t *restrict c, int n) {
    int x = 0;
#if LC_X86 && defined(__AVX512VBMI__)
    x = LC_NAME(split4_wide)(src, a, b, c, n);
#endif
    for (; x < n; x++) {
        a[x] = src[4 * x];
        b[x] = src[4 * x + 1];
        c[x] = src[4 * x + 2];
    }
}

static void LC_NAME(split2)(const uint8_t *restrict src, uint8_t *restrict a, uint8_t *restrict b, int n) {
    for (int x = 0; x < n; x++) {
        a[x] = src[2 * x];
        b[x] = src[2 * x + 1];
    }
}

static void LC_NAME(join3)(const uint8_t *restrict a, const uint8_t *restrict b, const uint8_t *restrict c,
                           uint8_t *restrict dst, int n) {
    int x = 0;
#if LC_X86 && defined(__AVX2__)
    x = LC_NAME(join3_wide)(a, b, c, dst, n);
#endif
    for (; x < n; x++) {
        dst[3 * x] = a[x];
        dst[3 * x + 1] = b[x];
        dst[3 * x + 2] = c[x];
    }
}

static void LC_NAME(join4)(const uint8_t *restrict a, const uint8_t *restrict b, const uint8_t *restrict c,
                           const uint8_t *restrict d, uint8_t *restrict dst, int n) {
    int x = 0;
#if LC_X86 && defined(__AVX512VBMI__)
    x = LC_NAME(join4_wide)(a, b, c, d, dst, n);
#endif
    for (; x < n; x++) {
        dst[4 * x] = a[x];
        dst[4 * x + 1] = b[x];
        dst[4 * x + 2] = c[x];
        dst[4 * x + 3] = d[x];
    }
}

static inline uint8_t LC_NAME(clamp8)(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

/* A row of Y with its row of U and V (each value serves two columns) to R, G, B. */
static void LC_NAME(yuv_to_rgb)(const lc_yuv *k, const uint8_t *restrict y, const uint8_t *restrict u,
                                const uint8_t *restrict v, uint8_t *restrict r, uint8_t *restrict g,
                                uint8_t *restrict b, int n) {
    int16_t cr[64], cg[64], cb[64];
    for (int x0 = 0; x0 < n; x0 += 64) {
        const int m = n - x0 < 64 ? n - x0 : 64, half = (m + 1) / 2;
        const uint8_t *restrict us = u + x0 / 2, *restrict vs = v + x0 / 2;
        for (int i = 0; i < half; i++) {
            const int16_t du = (int16_t)((us[i] - 128) * 128), dv = (int16_t)((vs[i] - 128) * 128);
            cr[2 * i] = cr[2 * i + 1] = LC_NAME(mul15)(dv, k->rv);
            cg[2 * i] = cg[2 * i + 1] = (int16_t)(LC_NAME(mul15)(du, k->gu) + LC_NAME(mul15)(dv, k->gv));
            cb[2 * i] = cb[2 * i + 1] = LC_NAME(mul15)(du, k->bu);
        }
        for (int i = 0; i < m; i++) {
            const int16_t luma = LC_NAME(mul15)((int16_t)(y[x0 + i] * 128 - k->y0), k->ry);
            r[x0 + i] = LC_NAME(clamp8)((luma + cr[i] + 16) >> 5);
            g[x0 + i] = LC_NAME(clamp8)((luma + cg[i] + 16) >> 5);
            b[x0 + i] = LC_NAME(clamp8)((luma + cb[i] + 16) >> 5);
        }
    }
}

static void LC_NAME(rgb_to_y)(const lc_yuv *k, const uint8_t *restrict r, const uint8_t *restrict g,
                              const uint8_t *restrict b, uint8_t *restrict y, int n) {
    const int16_t kr = k->yr, kg = k->yg, kb = k->yb, y0 = (int16_t)(k->y0 + 64);
    for (int x = 0; x < n; x++) {
        const int16_t red = (int16_t)(r[x] * 128), green = (int16_t)(g[x] * 128), blue = (int16_t)(b[x] * 128);
        const int16_t v =
            (int16_t)(LC_NAME(mul15)(red, kr) + LC_NAME(mul15)(green, kg) + LC_NAME(mul15)(blue, kb) + y0);
        y[x] = (uint8_t)((uint16_t)v >> 7);
    }
}

/* Two rows of R, G, B to one of U and V, from the mean of each 2 x 2. Column n is column n - 1 again where n is odd:
 * the rows must have room for it. */
static void LC_NAME(rgb_to_uv)(const lc_yuv *k, uint8_t *const top[3], uint8_t *const bottom[3],
                               uint8_t *restrict u, uint8_t *restrict v, int n) {
    for (int c = 0; c < 3 && (n & 1); c++) {
        top[c][n] = top[c][n - 1];
        bottom[c][n] = bottom[c][n - 1];
    }
    const uint8_t *restrict r0 = top[0], *restrict g0 = top[1], *restrict b0 = top[2];
    const uint8_t *restrict r1 = bottom[0], *restrict g1 = bottom[1], *restrict b1 = bottom[2];
    const lc_yuv q = *k;
    for (int i = 0; i < (n + 1) / 2; i++) {
        const int16_t red = (int16_t)((r0[2 * i] + r0[2 * i + 1] + r1[2 * i] + r1[2 * i + 1]) * 32);
        const int16_t green = (int16_t)((g0[2 * i] + g0[2 * i + 1] + g1[2 * i] + g1[2 * i + 1]) * 32);
        const int16_t blue = (int16_t)((b0[2 * i] + b0[2 * i + 1] + b1[2 * i] + b1[2 * i + 1]) * 32);
        const int16_t cu = (int16_t)(LC_NAME(mul15)(red, q.ur) + LC_NAME(mul15)(green, q.ug) +
                                     LC_NAME(mul15)(blue, q.ub) + 16384);
        const int16_t cv = (int16_t)(LC_NAME(mul15)(red, q.vr) + LC_NAME(mul15)(green, q.vg) +
                                     LC_NAME(mul15)(blue, q.vb) + 16384);
        u[i] = (uint8_t)((uint16_t)(cu + 64) >> 7);
        v[i] = (uint8_t)((uint16_t)(cv + 64) >> 7);
    }
}

/* Columns [x0, x0 + n) of row y of the frame as rows of R, G, B; x0 is even. */
static void LC_NAME(load_rgb)(const lc_work *w, int y, int x0, int n, uint8_t *const rgb[3]) {
    const lc_refine_job *job = w->job;
    const uint8_t *row = job->in[0] + y * job->in_stride[0];
    const int planar_out = job->out_format == LC_I420 || job->out_format == LC_YUVA420; /* takes rows in pairs */
    const int bytes = job->in_format <= LC_RGB ? 3 : job->in_format <= LC_RGBA ? 4 : 1;
    LC_NAME(fetch)(row + (size_t)x0 * bytes, (size_t)n * bytes, job->in_stride[0] * (1 + planar_out));
    switch (job->in_format) {
    case LC_RGB: LC_NAME(split3)(row + 3 * x0, rgb[0], rgb[1], rgb[2], n); return;
    case LC_BGR: LC_NAME(split3)(row + 3 * x0, rgb[2], rgb[1], rgb[0], n); return;
    case LC_RGBA: LC_NAME(split4)(row + 4 * x0, rgb[0], rgb[1], rgb[2], n); return;
    case LC_BGRA: LC_NAME(split4)(row + 4 * x0, rgb[2], rgb[1], rgb[0], n); return;
    }
    const lc_yuv k = lc_yuv_coefficients(job->bt601, job->full_range);
    const uint8_t *chroma = job->in[1] + (y / 2) * job->in_stride[1];
    if (job->in_format == LC_I420) {
        const uint8_t *v = job->in[2] + (y / 2) * job->in_stride[2];
        LC_NAME(yuv_to_rgb)(&k, row + x0, chroma + x0 / 2, v + x0 / 2, rgb[0], rgb[1], rgb[2], n);
        return;
    }
    uint8_t u[128], v[128];
    for (int i = 0; i < n; i += 256) {
        const int m = n - i < 256 ? n - i : 256;
        LC_NAME(split2)(chroma + x0 + i, u, v, (m + 1) / 2);
        LC_NAME(yuv_to_rgb)(&k, row + x0 + i, u, v, rgb[0] + i, rgb[1] + i, rgb[2] + i, m);
    }
}

/* Rows of R, G, B (and A) to packed pixels. */
static void LC_NAME(store_packed)(int format, uint8_t *const rgb[3], const uint8_t *alpha, uint8_t *dst, int n) {
    switch (format) {
    case LC_RGB: LC_NAME(join3)(rgb[0], rgb[1], rgb[2], dst, n); return;
    case LC_BGR: LC_NAME(join3)(rgb[2], rgb[1], rgb[0], dst, n); return;
    case LC_RGBA: LC_NAME(join4)(rgb[0], rgb[1], rgb[2], alpha, dst, n); return;
    case LC_BGRA: LC_NAME(join4)(rgb[2], rgb[1], rgb[0], alpha, dst, n); return;
    }
}
