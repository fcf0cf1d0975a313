/* The small stage: guided-filter coefficients, their envelope, and blur-fusion colours, all on the network's grid.
 * Included once per instruction set; the loops are written for the compiler to vectorise. Sums are integers, so the
 * result does not depend on the instruction set or on how rows are shared between threads. */

/* Repeat the last cell of a row into its padding, so that enlarging may read one cell past the end. */
static inline void LC_NAME(pad_row)(int16_t *row, int n) {
    for (int i = 0; i < LC_PAD; i++) row[n + i] = row[n - 1];
}

/* dst[x] = src[x] + ... + src[x + window - 1] for x < n, by doubling. */
static void LC_NAME(window_sums)(const int32_t *src, int32_t *restrict dst, int32_t *ping, int32_t *pong, int n,
                                 int window) {
    int offset = 0, length = n + window - 1;
    const int32_t *current = src;
    for (int power = 1; power <= window; power *= 2) {
        if (window & power) {
            const int32_t *restrict from = current + offset;
            if (offset == 0)
                memcpy(dst, from, (size_t)n * 4);
            else
                for (int x = 0; x < n; x++) dst[x] += from[x];
            offset += power;
        }
        if (2 * power <= window) {
            int32_t *restrict next = current == ping ? pong : ping;
            const int32_t *restrict a = current, *restrict b = current + power;
            length -= power;
            for (int x = 0; x < length; x++) next[x] = a[x] + b[x];
            current = next;
        }
    }
}

static inline int LC_NAME(window_length)(int at, int radius, int n) {
    const int first = at - radius > 0 ? at - radius : 0, last = at + radius < n - 1 ? at + radius : n - 1;
    return last - first + 1;
}

/* Rows [begin, end): alpha to fixed point; when refining also its horizontal extremes. NaN becomes 0. */
static void LC_NAME(read_alpha)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const int n = job->rw, reach = LC_REACH;
    const float least = job->refine ? 1.0f / 255 : 0, most = job->refine ? 254.0f / 255 : 1;
    const size_t plane = (size_t)job->rh * w->grid_row;
    for (int y = begin; y < end; y++) {
        const float *restrict a = job->alpha + y * job->alpha_stride;
        int16_t *restrict q = w->alpha + (size_t)y * w->grid_row;
        if (!job->refine) {
            int16_t *restrict full = w->grid + (size_t)y * w->grid_row;
            for (int x = 0; x < n; x++) {
                float v = a[x] > 0 ? a[x] : 0;
                v = v < 1 ? v : 1;
                full[x] = (int16_t)(v * 32767.0f + 0.5f);
            }
            LC_NAME(pad_row)(full, n);
            /* Up to 64 and from 32704 of 32767 no 8-bit blend differs from its end. */
            LC_NAME(cell_bits)(full, full, w->grid_row, 64, 32704, w->is_none + (size_t)y * w->words,
                               w->is_all + (size_t)y * w->words);
            if (!job->decontaminate) continue;
        }
        for (int x = 0; x < n; x++) {
            float v = a[x] >= least ? a[x] : 0;
            v = v <= most ? v : 1;
            q[x] = (int16_t)(v * LC_ONE + 0.5f);
        }
        LC_NAME(pad_row)(q, n);
        if (!job->refine) continue;
        int16_t *restrict low = w->extremes + (size_t)y * w->grid_row, *restrict high = low + plane;
        for (int x = 0; x < n; x++) {
            if (x == reach && n - reach > reach) x = n - reach; /* the edges alone */
            int16_t lo = q[x], hi = q[x];
            for (int k = x - reach; k <= x + reach; k++) {
                const int16_t v = q[k < 0 ? 0 : k > n - 1 ? n - 1 : k];
                lo = v < lo ? v : lo;
                hi = v > hi ? v : hi;
            }
            low[x] = lo;
            high[x] = hi;
        }
        for (int x = LC_REACH; x < n - LC_REACH; x++) {
            int16_t lo = q[x - LC_REACH], hi = lo;
            for (int k = 1 - LC_REACH; k <= LC_REACH; k++) {
                const int16_t v = q[x + k];
                lo = v < lo ? v : lo;
                hi = v > hi ? v : hi;
            }
            low[x] = lo;
            high[x] = hi;
        }
    }
}

/* Rows [begin, end): vertical extremes, and which cells are settled by them. */
static void LC_NAME(envelope)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const int n = job->rw;
    const size_t plane = (size_t)job->rh * w->grid_row;
    for (int y = begin; y < end; y++) {
        int16_t *restrict low = w->grid + LC_LOW * plane + (size_t)y * w->grid_row;
        int16_t *restrict high = w->grid + LC_HIGH * plane + (size_t)y * w->grid_row;
        for (int k = -LC_REACH; k <= LC_REACH; k++) {
            const int at = y + k < 0 ? 0 : y + k > job->rh - 1 ? job->rh - 1 : y + k;
            const int16_t *restrict lo = w->extremes + (size_t)at * w->grid_row, *restrict hi = lo + plane;
            if (k == -LC_REACH) {
                memcpy(low, lo, (size_t)n * 2);
                memcpy(high, hi, (size_t)n * 2);
                continue;
            }
            for (int x = 0; x < n; x++) {
                low[x] = lo[x] < low[x] ? lo[x] : low[x];
                high[x] = hi[x] > high[x] ? hi[x] : high[x];
            }
        }
        LC_NAME(pad_row)(low, n);
        LC_NAME(pad_row)(high, n);
        LC_NAME(cell_bits)(low, high, w->grid_row, 0, LC_ONE, w->is_none + (size_t)y * w->words,
                           w->is_all + (size_t)y * w->words);
    }
}

/* The small picture to planes, and its luma, in w->read. */
static void LC_NAME(read_colours)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const int wr = job->bt601 ? 38 : 27, wg = job->bt601 ? 75 : 92, wb = job->bt601 ? 15 : 9;
    const int x0 = w->read.x0, n = w->read.x1 - x0;
    const size_t plane = (size_t)job->rh * w->grid_row;
    for (int y = w->read.y0 + begin; y < w->read.y0 + end; y++) {
        uint8_t *restrict r = w->rgb + (size_t)y * w->grid_row + x0, *restrict g = r + plane, *restrict b = g + plane;
        LC_NAME(split3)(job->small + y * job->small_stride + 3 * x0, r, g, b, n);
        if (!job->refine) continue;
        int16_t *restrict luma = w->luma + (size_t)y * w->grid_row + x0;
        for (int x = 0; x < n; x++) luma[x] = (int16_t)(wr * r[x] + wg * g[x] + wb * b[x]);
    }
}

/* Column sums of luma, alpha, luma * alpha and luma^2 over n columns from x0 gain row `add` and lose row `drop`; -1
 * for neither. */
static void LC_NAME(slide_moments)(const lc_work *w, int32_t *columns, int x0, int n, int add, int drop) {
    const size_t row = w->small_row;
    const int shift = w->luma_shift, half = 1 << (shift - 1);
    int32_t *restrict si = columns, *restrict sp = columns + row, *restrict sip = columns + 2 * row,
            *restrict sii = columns + 3 * row;
    if (add >= 0) {
        const int16_t *restrict luma = w->luma + (size_t)add * w->grid_row + x0;
        const int16_t *restrict p = w->alpha + (size_t)add * w->grid_row + x0;
        for (int x = 0; x < n; x++) {
            const int32_t i = (luma[x] + half) >> shift, a = p[x];
            si[x] += i, sp[x] += a, sip[x] += i * a, sii[x] += i * i;
        }
    }
    if (drop >= 0) {
        const int16_t *restrict luma = w->luma + (size_t)drop * w->grid_row + x0;
        const int16_t *restrict p = w->alpha + (size_t)drop * w->grid_row + x0;
        for (int x = 0; x < n; x++) {
            const int32_t i = (luma[x] + half) >> shift, a = p[x];
            si[x] -= i, sp[x] -= a, sip[x] -= i * a, sii[x] -= i * i;
        }
    }
}

/* a = cov(luma, alpha) / (var(luma) + eps), within +-7 so that Q11 holds a, b and their differences in 16 bits. Stored
 * in Q15, in w->slopes. */
static void LC_NAME(coefficients)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const int r = job->radius, window = 2 * r + 1;
    const lc_box box = w->slopes, from = lc_grow(box, r, r, job->rw, job->rh);
    const int n = box.x1 - box.x0, wide = from.x1 - from.x0;
    lc_slot *slot = lc_acquire(w);
    const size_t row = w->small_row;
    memset(slot->columns, 0, row * 4 * 4);
    begin += box.y0, end += box.y0;
    int32_t *columns = slot->columns + (r - (box.x0 - from.x0)); /* what lies left of the picture counts nothing */
    for (int y = begin - r; y < begin + r; y++)
        if (y >= 0 && y < job->rh) LC_NAME(slide_moments)(w, columns, from.x0, wide, y, -1);
    for (int y = begin; y < end; y++) {
        const int drop = y > begin ? y - r - 1 : -1;
        LC_NAME(slide_moments)(w, columns, from.x0, wide, y + r < job->rh ? y + r : -1, drop);
        for (int c = 0; c < 4; c++)
            LC_NAME(window_sums)(slot->columns + c * row, slot->sums + c * row, slot->ping, slot->pong, n, window);
        const int32_t *restrict si = slot->sums, *restrict sp = si + row, *restrict sip = sp + row,
                      *restrict sii = sip + row;
        int32_t *restrict a = w->slope + (size_t)y * w->grid_row + box.x0;
        const float tall = (float)LC_NAME(window_length)(y, r, job->rh);
        const float one = (float)(32640 >> w->luma_shift), eps = job->eps * one * one;
        float *restrict count = (float *)slot->ping;
        for (int x = 0; x < n; x++) count[x] = tall * (float)LC_NAME(window_length)(box.x0 + x, r, job->rw);
        for (int x = 0; x < n; x++) {
            const float over = 1.0f / count[x], mi = (float)si[x] * over, mp = (float)sp[x] * over;
            const float cov = (float)sip[x] * over - mi * mp, var = (float)sii[x] * over - mi * mi;
            float slope = cov / ((var > 0 ? var : 0) + eps);
            const float limit = 7.0f * LC_ONE / one;
            slope = slope > -limit ? slope : -limit;
            slope = slope < limit ? slope : limit;
            a[x] = (int32_t)(slope * (one * 16) + (slope < 0 ? -0.5f : 0.5f));
        }
    }
    lc_release(w, slot);
}

/* Column sums gain row `add` and lose row `drop` of a plane of `height` rows; rows outside it count nothing. */
static inline void LC_NAME(slide)(int32_t *restrict columns, const int32_t *plane, size_t stride, int n, int height,
                                  int add, int drop) {
    if (add >= 0 && add < height) {
        const int32_t *restrict plus = plane + (size_t)add * stride;
        for (int x = 0; x < n; x++) columns[x] += plus[x];
    }
    if (drop >= 0) {
        const int32_t *restrict minus = plane + (size_t)drop * stride;
        for (int x = 0; x < n; x++) columns[x] -= minus[x];
    }
}

/* The planes that are enlarged, Q11, in w->box: A = box mean of a, and B = alpha - A luma, so A luma + B gives each
 * cell its own alpha back and the full-size luma only adds what the small picture lacks. */
static void LC_NAME(smooth_coefficients)(void *context, int begin, int end) {
    lc_work *w = context;
    const lc_refine_job *job = w->job;
    const int r = job->radius, window = 2 * r + 1;
    const lc_box box = w->box, from = lc_grow(box, r, r, job->rw, job->rh);
    const int n = box.x1 - box.x0, wide = from.x1 - from.x0;
    const size_t plane = (size_t)job->rh * w->grid_row, row = w->small_row;
    lc_slot *slot = lc_acquire(w);
    memset(slot->columns, 0, row * 4);
    begin += box.y0, end += box.y0;
    int32_t *columns = slot->columns + (r - (box.x0 - from.x0));
    const int32_t *slopes = w->slope + from.x0;
    for (int y = begin - r; y < begin + r; y++)
        LC_NAME(slide)(columns, slopes, w->grid_row, wide, job->rh, y, -1);
    for (int y = begin; y < end; y++) {
        LC_NAME(slide)(columns, slopes, w->grid_row, wide, job->rh, y + r, y > begin ? y - r - 1 : -1);
        LC_NAME(window_sums)(slot->columns, slot->sums, slot->ping, slot->pong, n, window);
        const float tall = (float)LC_NAME(window_length)(y, r, job->rh);
        const int32_t *restrict sums = slot->sums;
        float *restrict count = (float *)slot->ping;
        for (int x = 0; x < n; x++) count[x] = tall * (float)LC_NAME(window_length)(box.x0 + x, r, job->rw);
        const size_t at = (size_t)y * w->grid_row + box.x0;
        int16_t *restrict a = w->grid + LC_A * plane + at, *restrict b = w->grid + LC_B * plane + at;
        const int16_t *restrict alpha = w->alpha + at, *restrict luma = w->luma + at;
        for (int x = 0; x < n; x++) {
            const float slope = (float)sums[x] / (count[x] * 16);
            const float offset = alpha[x] - slope * luma[x] * (1 / 32640.0f);
            /* Luma at full resolution spans 0..32640, not 32767: A carries the difference. */
            const float scaled = slope * (32768.0f / 32640.0f);
            a[x] = (int16_t)(int32_t)(scaled + (scaled < 0 ? -0.5f : 0.5f));
            b[x] = (int16_t)(int32_t)(offset + (offset < 0 ? -0.5f : 0.5f));
        }
        if (box.x1 == job->rw) LC_NAME(pad_row)(a, n);
        if (box.x1 == job->rw) LC_NAME(pad_row)(b, n);
    }
    lc_release(w, slot);
}
