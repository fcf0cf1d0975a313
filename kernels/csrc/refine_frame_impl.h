/* Bands of rows of the output: classes of blocks, then packed rows or pairs of 4:2:0 rows. Included once per
 * instruction set. */

typedef struct {
    lc_work *w;
    lc_slot *slot;
    lc_ring grid, colours;
} LC_NAME(band);

static void LC_NAME(open_band)(LC_NAME(band) *band, lc_work *w) {
    lc_slot *slot = lc_acquire(w);
    const lc_refine_job *job = w->job;
    band->w = w;
    band->slot = slot;
    band->grid = (lc_ring){.planes = w->grid, .plane_stride = (size_t)job->rh * w->grid_row, .rows = job->rh,
                           .row_stride = w->grid_row, .count = w->coefficients, .columns = &w->fine};
    band->colours = (lc_ring){.planes = w->colours, .plane_stride = (size_t)w->fh * w->colour_row, .rows = w->fh,
                              .row_stride = w->colour_row, .count = LC_COLOURS, .columns = &w->coarse};
    lc_ring *rings[2] = {&band->grid, &band->colours};
    int16_t *rows[2] = {slot->edge, slot->colour};
    for (int i = 0; i < 2; i++) {
        rings[i]->at = -1;
        rings[i]->blocks = w->blocks;
        for (int side = 0; side < 2; side++) {
            rings[i]->ready[side] = slot->ready + (2 * i + side) * w->blocks;
            for (int c = 0; c < rings[i]->count; c++)
                rings[i]->row[side][c] = rows[i] + (size_t)(2 * c + side) * w->row;
        }
    }
}

/* The run of blocks of one class that starts at x0: its class, and in *n its columns. */
static inline int LC_NAME(run)(const lc_work *w, const uint8_t *class_, int x0, int *n) {
    int block = x0 / LC_BLOCK;
    const int class_here = class_[block];
    while (block < w->blocks && class_[block] == class_here) block++;
    const int end = block * LC_BLOCK < w->job->width ? block * LC_BLOCK : w->job->width;
    *n = end - x0;
    return class_here;
}

/* Bring the coefficient grid to row y; class_ holds the classes of the last row and is renewed where the cells did:
 * 1 where nothing of the frame shows, 2 where only the frame shows, else 0. */
static void LC_NAME(seek_row)(LC_NAME(band) *band, int y, uint8_t *class_) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    const int at = lc_place(y, job->height, job->rh, 1, job->rh, &band->grid.weight);
    if (!LC_NAME(seek)(&band->grid, at)) return;
    const int next = at + 1 < job->rh ? at + 1 : at;
    const uint32_t *none0 = w->is_none + (size_t)at * w->words, *none1 = w->is_none + (size_t)next * w->words;
    const uint32_t *all0 = w->is_all + (size_t)at * w->words, *all1 = w->is_all + (size_t)next * w->words;
    for (int i = 0; i < w->blocks; i++) {
        const int end = (i + 1) * LC_BLOCK < job->width ? (i + 1) * LC_BLOCK : job->width;
        const int first = w->fine.index[i * LC_BLOCK], last = w->fine.index[end - 1] + 1;
        class_[i] = (uint8_t)lc_all_set(none0, none1, first, last);
        if (!class_[i] && !job->input_alpha && lc_all_set(all0, all1, first, last)) class_[i] = 2;
    }
}

static void LC_NAME(seek_colours)(LC_NAME(band) *band, int y, int x0, int n) {
    const lc_refine_job *job = band->w->job;
    const int at = lc_place(y, job->height, job->rh, 2, band->w->fh, &band->colours.weight);
    LC_NAME(seek)(&band->colours, at);
    LC_NAME(ensure)(&band->colours, x0, n);
}

static void LC_NAME(planes)(uint8_t *buffer, int row, int which, int x0, uint8_t *rgb[3]) {
    for (int c = 0; c < 3; c++) rgb[c] = buffer + (size_t)(3 * which + c) * row + x0;
}

/* alpha15 of columns [x0, x0 + n) of row y, where neither side shows alone. `rgb` holds the pixels of a packed frame
 * when refining. */
static void LC_NAME(alpha_run)(LC_NAME(band) *band, int y, int x0, int n, uint8_t *const rgb[3], int16_t *alpha) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    LC_NAME(ensure)(&band->grid, x0, n);
    if (job->refine) {
        if (job->in_format == LC_I420 || job->in_format == LC_NV12)
            LC_NAME(luma_of_y)(w, job->in[0] + y * job->in_stride[0] + x0, band->slot->luma, n);
        else
            LC_NAME(luma_of_rgb)(w, rgb, band->slot->luma, n);
        LC_NAME(guided_alpha)(&band->grid, band->slot->luma, alpha, x0, n);
    } else {
        LC_NAME(plain_alpha)(&band->grid, alpha, x0, n);
    }
    if (job->input_alpha) LC_NAME(multiply_alpha)(alpha, job->input_alpha + y * job->input_alpha_stride + x0, n);
}

static int LC_NAME(needs_pixels)(const lc_refine_job *job) {
    const int planar = job->in_format == LC_I420 || job->in_format == LC_NV12;
    return job->out_format != LC_ALPHA || (job->refine && !planar);
}

/* A mixed run of a packed or alpha row. */
static void LC_NAME(mixed_run)(LC_NAME(band) *band, int y, int x0, int n, uint8_t *dst) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    lc_slot *slot = band->slot;
    int16_t *alpha = slot->alpha[0];
    uint8_t *rgb[3], *back[3];
    LC_NAME(planes)(slot->pixels, w->row, 0, 0, rgb);
    /* Pixels that stay as they are and where they are need not be taken apart. */
    const int as_is = job->in_format == job->out_format && job->out_format <= LC_RGB && !job->decontaminate;
    if (LC_NAME(needs_pixels)(job) && (job->refine || !as_is)) LC_NAME(load_rgb)(w, y, x0, n, rgb);
    LC_NAME(alpha_run)(band, y, x0, n, rgb, alpha);
    const ptrdiff_t behind_ahead = job->background == LC_COLOUR ? 0 : job->bg_stride[0];
    const uint8_t *behind = job->background == LC_COLOUR ? w->fill : job->bg[0] + y * job->bg_stride[0] + 3 * x0;
    if (as_is) {
        const uint8_t *front = job->in[0] + y * job->in_stride[0] + 3 * x0;
        LC_NAME(blend3)(front, behind, alpha, dst, n, job->in_stride[0], behind_ahead);
        return;
    }
    if (job->out_format == LC_ALPHA) {
        LC_NAME(coverage_of)(alpha, dst, n);
        return;
    }
    if (job->decontaminate) {
        LC_NAME(seek_colours)(band, y, x0, n);
        for (int c = 0; c < 3; c++) LC_NAME(decontaminate)(&band->colours, c, rgb[c], alpha, x0, n);
    }
    if (job->out_format == LC_RGBA || job->out_format == LC_BGRA) {
        LC_NAME(coverage_of)(alpha, slot->coverage, n);
    } else {
        const int swap = job->out_format == LC_BGR;
        LC_NAME(planes)(slot->background, w->row, 0, 0, back);
        LC_NAME(fetch)(behind, (size_t)n * 3, behind_ahead);
        LC_NAME(split3)(behind, back[swap ? 2 : 0], back[1], back[swap ? 0 : 2], n);
        for (int c = 0; c < 3; c++) LC_NAME(blend)(rgb[c], back[c], alpha, n);
    }
    LC_NAME(store_packed)(job->out_format, rgb, slot->coverage, dst, n);
}

/* A run where only the frame shows. */
static void LC_NAME(frame_run)(LC_NAME(band) *band, int y, int x0, int n, uint8_t *dst) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    lc_slot *slot = band->slot;
    uint8_t *rgb[3];
    if (job->out_format == LC_ALPHA) {
        memset(dst, 255, n);
    } else if (job->out_format == job->in_format && job->out_format <= LC_RGB) {
        const uint8_t *src = job->in[0] + y * job->in_stride[0] + 3 * x0;
        LC_NAME(copy_run)(dst, src, (size_t)n * 3, job->in_stride[0]);
    } else {
        LC_NAME(planes)(slot->pixels, w->row, 0, 0, rgb);
        LC_NAME(load_rgb)(w, y, x0, n, rgb);
        memset(slot->coverage, 255, n);
        LC_NAME(store_packed)(job->out_format, rgb, slot->coverage, dst, n);
    }
}

/* A run where nothing of the frame shows. */
static void LC_NAME(background_run)(LC_NAME(band) *band, int y, int x0, int n, int channels, uint8_t *dst) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    if (channels != 3) {
        memset(dst, 0, (size_t)n * channels);
        return;
    }
    const int plain = job->background == LC_COLOUR;
    const uint8_t *src = plain ? w->fill : job->bg[0] + y * job->bg_stride[0] + 3 * x0;
    LC_NAME(copy_run)(dst, src, (size_t)n * 3, plain ? 0 : job->bg_stride[0]);
}

static void LC_NAME(packed_rows)(void *context, int begin, int end) {
    LC_NAME(band) band;
    LC_NAME(open_band)(&band, context);
    const lc_refine_job *job = band.w->job;
    const int channels = job->out_format == LC_ALPHA ? 1 : job->out_format <= LC_RGB ? 3 : 4;
    for (int y = begin; y < end; y++) {
        LC_NAME(seek_row)(&band, y, band.slot->class_);
        for (int x0 = 0, n; x0 < job->width; x0 += n) {
            const int class_ = LC_NAME(run)(band.w, band.slot->class_, x0, &n);
            uint8_t *dst = job->out[0] + y * job->out_stride[0] + (ptrdiff_t)x0 * channels;
            if (class_ == 0)
                LC_NAME(mixed_run)(&band, y, x0, n, dst);
            else if (class_ == 1)
                LC_NAME(background_run)(&band, y, x0, n, channels, dst);
            else
                LC_NAME(frame_run)(&band, y, x0, n, dst);
        }
    }
    LC_NAME(end_stream)();
    lc_release(band.w, band.slot);
}
