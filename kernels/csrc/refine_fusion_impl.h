/* Blur fusion on the colour grid: foreground and background colours as weighted means of the picture around a cell,
 * weights alpha and 1 - alpha. Included once per instruction set. */

/* Rows of the colour grid in w->weighed: 2 x 2 means (edge cells repeat) of alpha * RGB, alpha, (1 - alpha) * RGB and
 * 1 - alpha; the weights count 256 times, so that both fill 16 bits. */
static void LC_NAME(weigh_colours)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const size_t plane = (size_t)job->rh * w->grid_row, cells = (size_t)w->fh * w->colour_row;
    const int pairs = job->rw / 2;
    const lc_box box = w->weighed;
    for (int y = box.y0 + begin; y < box.y0 + end; y++) {
        const int y0 = 2 * y, y1 = 2 * y + 1 < job->rh ? 2 * y + 1 : y0;
        const int16_t *restrict p0 = w->alpha + (size_t)y0 * w->grid_row, *restrict p1 = w->alpha + (size_t)y1 * w->grid_row;
        uint16_t *restrict out = w->fusion + (size_t)y * w->colour_row;
        for (int c = 0; c < 3; c++) {
            const uint8_t *restrict i0 = w->rgb + c * plane + (size_t)y0 * w->grid_row;
            const uint8_t *restrict i1 = w->rgb + c * plane + (size_t)y1 * w->grid_row;
            uint16_t *restrict front = out + c * cells, *restrict back = out + (4 + c) * cells;
            for (int x = box.x0; x < box.x1; x++) {
                const int l = 2 * x, r = x < pairs ? l + 1 : l;
                const int32_t all = (i0[l] + i0[r] + i1[l] + i1[r]) * LC_ONE;
                const int32_t f = i0[l] * p0[l] + i0[r] * p0[r] + i1[l] * p1[l] + i1[r] * p1[r];
                front[x] = (uint16_t)((f + 16) >> 5);
                back[x] = (uint16_t)((all - f + 16) >> 5);
            }
        }
        uint16_t *restrict front = out + 3 * cells, *restrict back = out + 7 * cells;
        for (int x = box.x0; x < box.x1; x++) {
            const int l = 2 * x, r = x < pairs ? l + 1 : l;
            const int32_t f = p0[l] + p0[r] + p1[l] + p1[r];
            front[x] = (uint16_t)(f * 4);
            back[x] = (uint16_t)((4 * LC_ONE - f) * 4);
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
            LC_NAME(slide_weights)(slot->columns + c * row + gap, weights + c * cells, w->colour_row, wide, w->fh, y, -1);
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
