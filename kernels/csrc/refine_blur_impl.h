/* Blurring the small picture, and enlarging it as a background. Included once per instruction set. */

/* Rows [begin, end) of one box pass over one channel in 8.7 bits; the last pass writes the grid. */
static void LC_NAME(blur_pass)(void *context, int begin, int end) {
    const lc_blur_pass *pass = context;
    lc_work *w = pass->w;
    const lc_refine_job *job = w->job;
    const int n = job->rw, r = job->radius, window = 2 * r + 1;
    lc_slot *slot = lc_acquire(w);
    memset(slot->columns, 0, (size_t)w->small_row * 4);
    for (int y = begin - r; y < begin + r; y++)
        LC_NAME(slide)(slot->columns + r, pass->from, w->grid_row, n, job->rh, y, -1);
    for (int y = begin; y < end; y++) {
        LC_NAME(slide)(slot->columns + r, pass->from, w->grid_row, n, job->rh, y + r, y > begin ? y - r - 1 : -1);
        LC_NAME(window_sums)(slot->columns, slot->sums, slot->ping, slot->pong, n, window);
        const int tall = LC_NAME(window_length)(y, r, job->rh);
        int32_t *sums = slot->sums;
        for (int x = 0; x < n; x++) {
            const int count = tall * LC_NAME(window_length)(x, r, n);
            sums[x] = (int32_t)((float)sums[x] / (float)count + 0.5f);
        }
        if (pass->to) {
            memcpy(pass->to + (size_t)y * w->grid_row, sums, (size_t)n * 4);
            continue;
        }
        int16_t *out = w->grid + pass->channel * (size_t)job->rh * w->grid_row + (size_t)y * w->grid_row;
        for (int x = 0; x < n; x++) out[x] = (int16_t)sums[x];
        LC_NAME(pad_row)(out, n);
    }
    lc_release(w, slot);
}

/* One channel of the packed small picture to 8.7 bits. */
static void LC_NAME(blur_read)(void *context, int begin, int end) {
    const lc_blur_pass *pass = context;
    const lc_refine_job *job = pass->w->job;
    for (int y = begin; y < end; y++) {
        const uint8_t *restrict src = job->small + y * job->small_stride + pass->channel;
        int32_t *restrict dst = pass->to + (size_t)y * pass->w->grid_row;
        for (int x = 0; x < job->rw; x++) dst[x] = src[3 * x] * 128;
    }
}

/* Rows of the enlarged blur, packed. */
static void LC_NAME(blur_rows)(void *context, int begin, int end) {
    LC_NAME(band) band;
    LC_NAME(open_band)(&band, context);
    const lc_refine_job *job = band.w->job;
    uint8_t *rgb[3];
    LC_NAME(planes)(band.slot->pixels, band.w->row, 0, 0, rgb);
    for (int y = begin; y < end; y++) {
        LC_NAME(seek)(&band.grid, lc_place(y, job->height, job->rh, 1, job->rh, &band.grid.weight));
        LC_NAME(ensure)(&band.grid, 0, job->width);
        for (int c = 0; c < 3; c++) {
            const int16_t *restrict t = band.grid.row[0][c], *restrict b = band.grid.row[1][c];
            uint8_t *restrict out = rgb[c];
            const int16_t weight = band.grid.weight;
            for (int x = 0; x < job->width; x++)
                out[x] = (uint8_t)((uint16_t)(t[x] + LC_NAME(mul15)((int16_t)(b[x] - t[x]), weight) + 64) >> 7);
        }
        LC_NAME(store_packed)(job->out_format, rgb, 0, job->out[0] + y * job->out_stride[0], job->width);
    }
    lc_release(band.w, band.slot);
}
