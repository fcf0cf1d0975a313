/* Blur fusion on the colour grid: foreground and background colours as weighted means of the picture around a cell,
 * weights from alpha and 1 - alpha. Included once per instruction set. */

/* Rows [begin, end) of w->read: alpha^4 and (1 - alpha)^4, Q11. The fourth power keeps the mixed pixels of an edge from
 * colouring either side, and still finds a colour where nothing is opaque. */
static void LC_NAME(weigh)(void *context, int begin, int end) {
    lc_work *w = context;
    const int x0 = w->read.x0, n = w->read.x1 - x0;
    for (int y = w->read.y0 + begin; y < w->read.y0 + end; y++) {
        const size_t at = (size_t)y * w->grid_row + x0;
        const int16_t *restrict alpha = w->alpha + at;
        int16_t *restrict front = w->weights + at, *restrict back = front + (size_t)w->job->rh * w->grid_row;
        for (int x = 0; x < n; x++) {
            const int32_t a = alpha[x], b = LC_ONE - a;
            const int32_t a2 = (a * a + LC_ONE / 2) >> 11, b2 = (b * b + LC_ONE / 2) >> 11;
            front[x] = (int16_t)((a2 * a2 + LC_ONE / 2) >> 11);
            back[x] = (int16_t)((b2 * b2 + LC_ONE / 2) >> 11);
        }
    }
}

/* Rows of the colour grid in w->weighed: 2 x 2 means (edge cells repeat) of weight * RGB and of the weight, for both
 * sides; the weights count four times. */
static void LC_NAME(weigh_colours)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const size_t plane = (size_t)job->rh * w->grid_row, cells = (size_t)w->fh * w->colour_row;
    const lc_box box = w->weighed;
    const int pairs = box.x1 < job->rw / 2 ? box.x1 : job->rw / 2; /* an odd last column is a pair with itself */
    for (int y = box.y0 + begin; y < box.y0 + end; y++) {
        const size_t y0 = (size_t)(2 * y) * w->grid_row;
        const size_t y1 = 2 * y + 1 < job->rh ? y0 + w->grid_row : y0;
        for (int side = 0; side < 2; side++) {
            const int16_t *restrict p0 = w->weights + side * plane + y0, *restrict p1 = w->weights + side * plane + y1;
            uint16_t *restrict out = w->fusion + 4 * side * cells + (size_t)y * w->colour_row;
            for (int c = 0; c < 3; c++) {
                const uint8_t *restrict i0 = w->rgb + c * plane + y0, *restrict i1 = w->rgb + c * plane + y1;
                uint16_t *restrict sum = out + c * cells;
                for (int x = box.x0; x < pairs; x++)
                    sum[x] = (uint16_t)((i0[2 * x] * p0[2 * x] + i0[2 * x + 1] * p0[2 * x + 1] +
                                         i1[2 * x] * p1[2 * x] + i1[2 * x + 1] * p1[2 * x + 1] + 16) >> 5);
                for (int x = pairs; x < box.x1; x++)
                    sum[x] = (uint16_t)((2 * (i0[2 * x] * p0[2 * x] + i1[2 * x] * p1[2 * x]) + 16) >> 5);
            }
            uint16_t *restrict sum = out + 3 * cells;
            for (int x = box.x0; x < pairs; x++)
                sum[x] = (uint16_t)((p0[2 * x] + p0[2 * x + 1] + p1[2 * x] + p1[2 * x + 1]) * 4);
            for (int x = pairs; x < box.x1; x++) sum[x] = (uint16_t)((p0[2 * x] + p1[2 * x]) * 8);
        }
    }
}

static inline void LC_NAME(slide_weights)(int32_t *restrict columns, const uint16_t *plane, size_t stride, int n,
                                          int height, int add, int drop) {
    if (add >= 0 && add < height) {
        const uint16_t *restrict plus = plane + (size_t)add * stride;
        for (int x = 0; x < n; x++) columns[x] += plus[x];
    }
    if (drop >= 0) {
        const uint16_t *restrict minus = plane + (size_t)drop * stride;
        for (int x = 0; x < n; x++) columns[x] -= minus[x];
    }
}

/* RGB rows in 8.7 bits to Y, U, V in 8.7 bits, in place. */
static void LC_NAME(colours_to_yuv)(const lc_work *w, int16_t *restrict r, int16_t *restrict g, int16_t *restrict b,
                                    int n) {
    const lc_yuv k = lc_yuv_coefficients(w->job->bt601, w->job->full_range);
    for (int x = 0; x < n; x++) {
        const int16_t red = r[x], green = g[x], blue = b[x];
        r[x] = (int16_t)(LC_NAME(mul15)(red, k.yr) + LC_NAME(mul15)(green, k.yg) + LC_NAME(mul15)(blue, k.yb) + k.y0);
        g[x] = (int16_t)(LC_NAME(mul15)(red, k.ur) + LC_NAME(mul15)(green, k.ug) + LC_NAME(mul15)(blue, k.ub) + 16384);
        b[x] = (int16_t)(LC_NAME(mul15)(red, k.vr) + LC_NAME(mul15)(green, k.vg) + LC_NAME(mul15)(blue, k.vb) + 16384);
    }
}

/* Rows of w->fused: box sums of the weighed colours, divided; where a side has no weight at all the plain mean of
 * the window stands in. Converted to YUV where blending happens there. */
static void LC_NAME(fuse_colours)(void *context, int begin, int end) {
    lc_work *w = context;
    const int r = w->job->fusion_radius, window = 2 * r + 1;
    const lc_box box = w->fused, from = w->weighed;
    const int n = box.x1 - box.x0, wide = from.x1 - from.x0, gap = r - (box.x0 - from.x0);
    const size_t cells = (size_t)w->fh * w->colour_row, row = w->small_row;
    lc_slot *slot = lc_acquire(w);
    memset(slot->columns, 0, row * 4 * 8);
    begin += box.y0, end += box.y0;
    const uint16_t *weights = w->fusion + from.x0;
    for (int y = begin - r; y < begin + r; y++)
        for (int c = 0; c < 8; c++)
            LC_NAME(slide_weights)(slot->columns + c * row + gap, weights + c * cells, w->colour_row, wide, w->fh, y,
                                   -1);
    for (int y = begin; y < end; y++) {
        const int drop = y > begin ? y - r - 1 : -1;
        for (int c = 0; c < 8; c++) {
            int32_t *columns = slot->columns + c * row;
            LC_NAME(slide_weights)(columns + gap, weights + c * cells, w->colour_row, wide, w->fh, y + r, drop);
            LC_NAME(window_sums)(columns, slot->sums + c * row, slot->ping, slot->pong, n, window);
        }
        int16_t *out = w->colours + (size_t)y * w->colour_row + box.x0;
        for (int c = 0; c < 3; c++) {
            const int32_t *restrict front = slot->sums + c * row, *restrict back = front + 4 * row;
            const int32_t *restrict alpha = slot->sums + 3 * row, *restrict rest = alpha + 4 * row;
            int16_t *restrict f = out + c * cells, *restrict b = out + (3 + c) * cells;
            for (int x = 0; x < n; x++) {
                const float cf = (float)front[x], cb = (float)back[x], wf = (float)alpha[x], wb = (float)rest[x];
                const float mean = (cf + cb) * 1e-4f, weight = (wf + wb) * 1e-4f;
                const float vf = (cf + mean) * 16384.0f / (wf + weight), vb = (cb + mean) * 16384.0f / (wb + weight);
                f[x] = (int16_t)((vf < 32640 ? vf : 32640) + 0.5f);
                b[x] = (int16_t)((vb < 32640 ? vb : 32640) + 0.5f);
            }
        }
        for (int side = 0; w->yuv && side < 6; side += 3)
            LC_NAME(colours_to_yuv)(w, out + side * cells, out + (side + 1) * cells, out + (side + 2) * cells, n);
        for (int c = 0; c < 6 && box.x1 == w->fw; c++) LC_NAME(pad_row)(out + c * cells, n);
    }
    lc_release(w, slot);
}
