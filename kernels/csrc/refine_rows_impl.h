/* Rows at full resolution: enlarging, alpha, decontamination, blending. Included once per instruction set. */

/* dst[x] = between src[index[x]] and src[index[x] + 1] by weight[x]. */
static void LC_NAME(enlarge)(const lc_columns *columns, const int16_t *restrict src, int16_t *restrict dst, int n) {
    const int32_t *restrict index = columns->index;
    const int16_t *restrict weight = columns->weight;
    for (int x = 0; x < n; x++) {
        const int16_t left = src[index[x]], right = src[index[x] + 1];
        dst[x] = (int16_t)(left + LC_NAME(mul15)((int16_t)(right - left), weight[x]));
    }
}

/* Move to rows `at` and `at + 1` (the last row again at the end). True when the rows changed. */
static int LC_NAME(seek)(lc_ring *ring, int at, int n) {
    if (at == ring->at) return 0;
    const int next = at + 1 < ring->rows ? at + 1 : ring->rows - 1;
    for (int c = 0; c < ring->count; c++) {
        const int16_t *plane = ring->planes + c * ring->plane_stride;
        int16_t *top = ring->top[c];
        ring->top[c] = ring->bottom[c];
        ring->bottom[c] = top;
        if (at != ring->at + 1 || ring->at < 0)
            LC_NAME(enlarge)(ring->columns, plane + at * ring->row_stride, ring->top[c], n);
        LC_NAME(enlarge)(ring->columns, plane + next * ring->row_stride, ring->bottom[c], n);
    }
    ring->at = at;
    return 1;
}

/* Per block of the two rows: 1 where nothing of the frame shows, 2 where only the frame shows, else 0. */
static void LC_NAME(classify)(const lc_ring *ring, int low, int high, int none, int all, uint8_t *class_, int n) {
    const int16_t *l0 = ring->top[low], *l1 = ring->bottom[low], *h0 = ring->top[high], *h1 = ring->bottom[high];
    for (int x0 = 0; x0 < n; x0 += LC_BLOCK) {
        const int end = x0 + LC_BLOCK < n ? x0 + LC_BLOCK : n;
        int16_t least = 32767, most = -32768;
        if (end - x0 == LC_BLOCK) {
            for (int x = x0; x < x0 + LC_BLOCK; x++) {
                const int16_t lo = l0[x] < l1[x] ? l0[x] : l1[x], hi = h0[x] > h1[x] ? h0[x] : h1[x];
                least = lo < least ? lo : least;
                most = hi > most ? hi : most;
            }
        } else {
            for (int x = x0; x < end; x++) {
                const int16_t lo = l0[x] < l1[x] ? l0[x] : l1[x], hi = h0[x] > h1[x] ? h0[x] : h1[x];
                least = lo < least ? lo : least;
                most = hi > most ? hi : most;
            }
        }
        class_[x0 / LC_BLOCK] = (uint8_t)(most <= none ? 1 : least >= all ? 2 : 0);
    }
}

static void LC_NAME(plain_alpha)(const lc_ring *ring, int16_t *restrict alpha, int x0, int n) {
    const int16_t *restrict t = ring->top[LC_A] + x0, *restrict b = ring->bottom[LC_A] + x0, weight = ring->weight;
    for (int x = 0; x < n; x++) alpha[x] = (int16_t)(t[x] + LC_NAME(mul15)((int16_t)(b[x] - t[x]), weight));
}

/* alpha = a * luma + b within its envelope, Q11 to Q15. */
static void LC_NAME(guided_alpha)(const lc_ring *ring, const int16_t *restrict luma, int16_t *restrict alpha,
                                  int x0, int n) {
    const int16_t *restrict at = ring->top[LC_A] + x0, *restrict ab = ring->bottom[LC_A] + x0;
    const int16_t *restrict bt = ring->top[LC_B] + x0, *restrict bb = ring->bottom[LC_B] + x0;
    const int16_t *restrict lt = ring->top[LC_LOW] + x0, *restrict lb = ring->bottom[LC_LOW] + x0;
    const int16_t *restrict ht = ring->top[LC_HIGH] + x0, *restrict hb = ring->bottom[LC_HIGH] + x0;
    const int16_t weight = ring->weight;
    for (int x = 0; x < n; x++) {
        const int16_t a = (int16_t)(at[x] + LC_NAME(mul15)((int16_t)(ab[x] - at[x]), weight));
        const int16_t b = (int16_t)(bt[x] + LC_NAME(mul15)((int16_t)(bb[x] - bt[x]), weight));
        const int16_t lo = (int16_t)(lt[x] + LC_NAME(mul15)((int16_t)(lb[x] - lt[x]), weight));
        const int16_t hi = (int16_t)(ht[x] + LC_NAME(mul15)((int16_t)(hb[x] - ht[x]), weight));
        int16_t q = (int16_t)(b + LC_NAME(mul15)(a, luma[x]));
        q = q > lo ? q : lo;
        q = q < hi ? q : hi;
        alpha[x] = (int16_t)((uint16_t)(q << 4) - (q >> 11)); /* 2048 becomes 32767 */
    }
}

static void LC_NAME(luma_of_rgb)(const lc_work *w, uint8_t *const rgb[3], int16_t *restrict luma, int n) {
    const int16_t wr = w->job->bt601 ? 38 : 27, wg = w->job->bt601 ? 75 : 92, wb = w->job->bt601 ? 15 : 9;
    const uint8_t *restrict r = rgb[0], *restrict g = rgb[1], *restrict b = rgb[2];
    for (int x = 0; x < n; x++) luma[x] = (int16_t)(wr * r[x] + wg * g[x] + wb * b[x]);
}

static void LC_NAME(luma_of_y)(const lc_work *w, const uint8_t *restrict y, int16_t *restrict luma, int n) {
    const int low = w->job->full_range ? 0 : 16, most = w->job->full_range ? 255 : 219;
    const int scale = w->job->full_range ? 128 : 149;
    for (int x = 0; x < n; x++) {
        int16_t v = (int16_t)(y[x] - low);
        v = v > 0 ? v : 0;
        v = v < most ? v : most;
        luma[x] = (int16_t)(v * scale);
    }
}

static void LC_NAME(multiply_alpha)(int16_t *restrict alpha, const uint8_t *restrict other, int n) {
    for (int x = 0; x < n; x++) {
        const uint16_t m = (uint16_t)((uint16_t)LC_NAME(mul15)(alpha[x], 255) * other[x] + 128);
        const uint16_t v = (uint16_t)(m + (m >> 8)) >> 8;
        alpha[x] = (int16_t)(v * 128 + (v >> 1)); /* 255 becomes 32767 */
    }
}

static void LC_NAME(coverage_of)(const int16_t *restrict alpha, uint8_t *restrict coverage, int n) {
    for (int x = 0; x < n; x++) coverage[x] = (uint8_t)LC_NAME(mul15)(alpha[x], 255);
}

/* Channel c: F = clamp(F^ + a (I - a F^ - (1 - a) B^)), in place; step 2 takes every other column of the enlarged
 * colours, for chroma. */
static inline void LC_NAME(unmix)(const lc_ring *ring, int c, uint8_t *restrict pixels,
                                  const int16_t *restrict alpha, int x0, int n, const int step) {
    const int16_t *restrict ft = ring->top[c] + x0, *restrict fb = ring->bottom[c] + x0;
    const int16_t *restrict bt = ring->top[c + 3] + x0, *restrict bb = ring->bottom[c + 3] + x0;
    const int16_t weight = ring->weight;
    for (int x = 0; x < n; x++) {
        const int i = x * step;
        const int16_t f = (int16_t)(ft[i] + LC_NAME(mul15)((int16_t)(fb[i] - ft[i]), weight));
        const int16_t b = (int16_t)(bt[i] + LC_NAME(mul15)((int16_t)(bb[i] - bt[i]), weight));
        const int16_t mixed = (int16_t)(b + LC_NAME(mul15)((int16_t)(f - b), alpha[x]));
        const int16_t rest = (int16_t)(pixels[x] * 128 - mixed);
        /* Halved, so that the sum stays in 16 bits. */
        int16_t v = (int16_t)((f >> 1) + LC_NAME(mul15)(rest, (int16_t)(alpha[x] >> 1)) + 32);
        v = (int16_t)(v >> 6);
        v = v > 0 ? v : 0;
        pixels[x] = (uint8_t)(v < 255 ? v : 255);
    }
}

static void LC_NAME(decontaminate)(const lc_ring *ring, int c, uint8_t *pixels, const int16_t *alpha, int x0,
                                   int n) {
    LC_NAME(unmix)(ring, c, pixels, alpha, x0, n, 1);
}

static void LC_NAME(decontaminate_chroma)(const lc_ring *ring, int c, uint8_t *pixels, const int16_t *alpha,
                                          int x0, int n) {
    LC_NAME(unmix)(ring, c, pixels, alpha, x0, n, 2);
}

/* pixels = background + alpha (pixels - background), in place. */
static void LC_NAME(blend)(uint8_t *restrict pixels, const uint8_t *restrict background,
                           const int16_t *restrict alpha, int n) {
    for (int x = 0; x < n; x++) {
        const int16_t difference = (int16_t)(pixels[x] - background[x]);
        pixels[x] = (uint8_t)(background[x] + LC_NAME(mul15)(difference, alpha[x]));
    }
}

/* Mean of each 2 x 2 alphas; an odd last column counts twice. The rows have room for that column. */
static void LC_NAME(chroma_alpha)(int16_t *restrict top, int16_t *restrict bottom, int16_t *restrict out, int n) {
    if (n & 1) {
        top[n] = top[n - 1];
        bottom[n] = bottom[n - 1];
    }
    for (int i = 0; i < (n + 1) / 2; i++)
        out[i] = (int16_t)((top[2 * i] + top[2 * i + 1] + bottom[2 * i] + bottom[2 * i + 1] + 2) >> 2);
}
