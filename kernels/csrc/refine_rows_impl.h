/* Rows at full resolution: alpha, decontamination, blending. Included once per instruction set. */

static void LC_NAME(plain_alpha)(const lc_ring *ring, int16_t *restrict alpha, int x0, int n) {
    const int16_t *restrict t = ring->row[0][LC_A] + x0, *restrict b = ring->row[1][LC_A] + x0, weight = ring->weight;
    for (int x = 0; x < n; x++) alpha[x] = (int16_t)(t[x] + LC_NAME(mul15)((int16_t)(b[x] - t[x]), weight));
}

/* alpha = A * luma + B within its envelope, Q11 to Q15. */
static void LC_NAME(guided_alpha)(const lc_ring *ring, const int16_t *restrict luma, int16_t *restrict alpha,
                                  int x0, int n) {
    const int16_t *restrict at = ring->row[0][LC_A] + x0, *restrict ab = ring->row[1][LC_A] + x0;
    const int16_t *restrict bt = ring->row[0][LC_B] + x0, *restrict bb = ring->row[1][LC_B] + x0;
    const int16_t *restrict lt = ring->row[0][LC_LOW] + x0, *restrict lb = ring->row[1][LC_LOW] + x0;
    const int16_t *restrict ht = ring->row[0][LC_HIGH] + x0, *restrict hb = ring->row[1][LC_HIGH] + x0;
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
    const int scale = w->job->full_range ? 128 : 149, rest = w->job->full_range ? 0 : 10; /* 219 to 32640, too */
    for (int x = 0; x < n; x++) {
        int16_t v = (int16_t)(y[x] - low);
        v = v > 0 ? v : 0;
        v = v < most ? v : most;
        luma[x] = (int16_t)(v * scale + ((v * rest) >> 8));
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
    const int16_t *restrict ft = ring->row[0][c] + x0, *restrict fb = ring->row[1][c] + x0;
    const int16_t *restrict bt = ring->row[0][c + 3] + x0, *restrict bb = ring->row[1][c + 3] + x0;
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
