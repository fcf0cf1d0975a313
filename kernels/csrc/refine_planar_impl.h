/* Pairs of rows of a 4:2:0 output. Blending happens in YUV: chroma is the mean of 2 x 2 pixels, blended by the mean of
 * their alphas. A planar frame never becomes RGB. Included once per instruction set. */

/* Columns [x0, x0 + n) of rows y[0] and y[1] of the frame: Y of both, U and V, into `yuv` at column x0; a
 * packed frame comes from slot->pixels. */
static void LC_NAME(load_pair)(LC_NAME(band) *band, const int y[2], int x0, int n, uint8_t *const yuv[4]) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    if (!w->yuv) {
        const lc_yuv k = lc_yuv_coefficients(job->bt601, job->full_range);
        uint8_t *rgb[2][3];
        for (int i = 0; i < 2; i++) {
            LC_NAME(planes)(band->slot->pixels, w->row, i, x0, rgb[i]);
            LC_NAME(rgb_to_y)(&k, rgb[i][0], rgb[i][1], rgb[i][2], yuv[i] + x0, n);
        }
        LC_NAME(rgb_to_uv)(&k, rgb[0], rgb[1], yuv[2] + x0 / 2, yuv[3] + x0 / 2, n);
        return;
    }
    const int half = (n + 1) / 2, pair = y[0] / 2;
    for (int i = 0; i < 2; i++) {
        const uint8_t *row = job->in[0] + y[i] * job->in_stride[0] + x0;
        LC_NAME(fetch)(row, n, 2 * job->in_stride[0]);
        memcpy(yuv[i] + x0, row, n);
    }
    const uint8_t *u = job->in[1] + pair * job->in_stride[1];
    if (job->in_format == LC_NV12) {
        LC_NAME(split2)(u + x0, yuv[2] + x0 / 2, yuv[3] + x0 / 2, half);
    } else {
        memcpy(yuv[2] + x0 / 2, u + x0 / 2, half);
        memcpy(yuv[3] + x0 / 2, job->in[2] + pair * job->in_stride[2] + x0 / 2, half);
    }
}

/* The background of the same columns, into `yuv` at column x0. */
static void LC_NAME(background_pair)(LC_NAME(band) *band, const int y[2], int x0, int n, uint8_t *const yuv[4]) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    const int half = (n + 1) / 2, pair = y[0] / 2;
    if (job->background == LC_PLANES) {
        for (int i = 0; i < 2; i++) memcpy(yuv[i] + x0, job->bg[0] + y[i] * job->bg_stride[0] + x0, n);
        for (int c = 1; c < 3; c++)
            memcpy(yuv[c + 1] + x0 / 2, job->bg[c] + pair * job->bg_stride[c] + x0 / 2, half);
    } else if (job->background == LC_PACKED) {
        const lc_yuv k = lc_yuv_coefficients(job->bt601, job->full_range);
        uint8_t *rgb[2][3];
        for (int i = 0; i < 2; i++) {
            LC_NAME(planes)(band->slot->background, w->row, i, 0, rgb[i]);
            const uint8_t *row = job->bg[0] + y[i] * job->bg_stride[0] + 3 * x0;
            LC_NAME(fetch)(row, (size_t)n * 3, 2 * job->bg_stride[0]);
            LC_NAME(split3)(row, rgb[i][0], rgb[i][1], rgb[i][2], n);
            LC_NAME(rgb_to_y)(&k, rgb[i][0], rgb[i][1], rgb[i][2], yuv[i] + x0, n);
        }
        LC_NAME(rgb_to_uv)(&k, rgb[0], rgb[1], yuv[2] + x0 / 2, yuv[3] + x0 / 2, n);
    } else { /* a colour; black behind straight alpha */
        for (int i = 0; i < 2; i++) memset(yuv[i] + x0, w->colour_yuv[0], n);
        for (int c = 1; c < 3; c++) memset(yuv[c + 1] + x0 / 2, w->colour_yuv[c], half);
    }
}

/* alpha15 of both rows into slot->alpha, and the common classes of the blocks into slot->class_. */
static void LC_NAME(alpha_pair)(LC_NAME(band) *band, const int y[2]) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    lc_slot *slot = band->slot;
    uint8_t *mine = slot->class_ + w->blocks;
    for (int i = 0; i < 2; i++) {
        LC_NAME(seek_row)(band, y[i], mine);
        for (int x0 = 0, n; x0 < job->width; x0 += n) {
            const int class_ = LC_NAME(run)(w, mine, x0, &n);
            int16_t *alpha = slot->alpha[i] + x0;
            uint8_t *rgb[3];
            LC_NAME(planes)(slot->pixels, w->row, i, x0, rgb);
            if (class_ == 0) {
                if (job->refine && !w->yuv) LC_NAME(load_rgb)(w, y[i], x0, n, rgb);
                LC_NAME(alpha_run)(band, y[i], x0, n, rgb, alpha);
            } else {
                for (int x = 0; x < n; x++) alpha[x] = class_ == 1 ? 0 : 32767;
            }
        }
        for (int b = 0; b < w->blocks; b++) slot->class_[b] = i == 0 || slot->class_[b] == mine[b] ? mine[b] : 0;
    }
}

/* Pixels of packed frames for every run in which the frame shows, decontaminated where mixed. */
static void LC_NAME(colour_pair)(LC_NAME(band) *band, const int y[2]) {
    const lc_work *w = band->w;
    const lc_refine_job *job = w->job;
    lc_slot *slot = band->slot;
    for (int i = 0; i < 2; i++)
        for (int x0 = 0, n; x0 < job->width; x0 += n) {
            const int class_ = LC_NAME(run)(w, slot->class_, x0, &n);
            if (class_ == 1) continue;
            uint8_t *rgb[3];
            LC_NAME(planes)(slot->pixels, w->row, i, x0, rgb);
            LC_NAME(load_rgb)(w, y[i], x0, n, rgb);
            if (class_ == 2 || !job->decontaminate) continue;
            LC_NAME(seek_colours)(band, y[i], x0, n);
            for (int c = 0; c < 3; c++)
                LC_NAME(decontaminate)(&band->colours, c, rgb[c], slot->alpha[i] + x0, x0, n);
        }
}

/* Decontamination in YUV of the mixed runs of slot->yuv. */
static void LC_NAME(unmix_pair)(LC_NAME(band) *band, const int y[2], uint8_t *const yuv[4]) {
    const lc_work *w = band->w;
    lc_slot *slot = band->slot;
    for (int i = 0; i < 2; i++) {
        for (int x0 = 0, n; x0 < w->job->width; x0 += n) {
            if (LC_NAME(run)(w, slot->class_, x0, &n) != 0) continue;
            LC_NAME(seek_colours)(band, y[i], x0, n);
            LC_NAME(decontaminate)(&band->colours, 0, yuv[i] + x0, slot->alpha[i] + x0, x0, n);
            if (i == 1) continue;
            for (int c = 1; c < 3; c++)
                LC_NAME(decontaminate_chroma)(&band->colours, c, yuv[c + 1] + x0 / 2, slot->alpha_chroma + x0 / 2, x0,
                                              (n + 1) / 2);
        }
    }
}

static void LC_NAME(store_pair)(const lc_refine_job *job, const int y[2], int x0, int n, uint8_t *const yuv[4]) {
    const int pair = y[0] / 2;
    for (int i = 0; i < 2; i++) memcpy(job->out[0] + y[i] * job->out_stride[0] + x0, yuv[i] + x0, n);
    for (int c = 1; c < 3; c++)
        memcpy(job->out[c] + pair * job->out_stride[c] + x0 / 2, yuv[c + 1] + x0 / 2, (n + 1) / 2);
}

static void LC_NAME(planar_pairs)(void *context, int begin, int end) {
    LC_NAME(band) band;
    LC_NAME(open_band)(&band, context);
    const lc_work *w = band.w;
    const lc_refine_job *job = w->job;
    lc_slot *slot = band.slot;
    uint8_t *yuv[4], *back[4];
    for (int c = 0; c < 4; c++) {
        yuv[c] = slot->yuv + (size_t)c * w->row;
        back[c] = slot->back + (size_t)c * w->row;
    }
    for (int pair = begin; pair < end; pair++) {
        const int y[2] = {2 * pair, 2 * pair + 1 < job->height ? 2 * pair + 1 : 2 * pair};
        LC_NAME(alpha_pair)(&band, y);
        LC_NAME(chroma_alpha)(slot->alpha[0], slot->alpha[1], slot->alpha_chroma, job->width);
        if (!w->yuv) LC_NAME(colour_pair)(&band, y);
        for (int x0 = 0, n; x0 < job->width; x0 += n)
            if (LC_NAME(run)(w, slot->class_, x0, &n) == 1)
                LC_NAME(background_pair)(&band, y, x0, n, yuv);
            else
                LC_NAME(load_pair)(&band, y, x0, n, yuv);
        if (w->yuv && job->decontaminate) LC_NAME(unmix_pair)(&band, y, yuv);
        for (int x0 = 0, n; x0 < job->width && job->out_format == LC_I420; x0 += n) {
            if (LC_NAME(run)(w, slot->class_, x0, &n) != 0) continue;
            LC_NAME(background_pair)(&band, y, x0, n, back);
            for (int i = 0; i < 2; i++) LC_NAME(blend)(yuv[i] + x0, back[i] + x0, slot->alpha[i] + x0, n);
            for (int c = 2; c < 4; c++)
                LC_NAME(blend)(yuv[c] + x0 / 2, back[c] + x0 / 2, slot->alpha_chroma + x0 / 2, (n + 1) / 2);
        }
        LC_NAME(store_pair)(job, y, 0, job->width, yuv);
        for (int i = 0; i < 2 && job->out_format == LC_YUVA420; i++)
            LC_NAME(coverage_of)(slot->alpha[i], job->out[3] + y[i] * job->out_stride[3], job->width);
    }
    lc_release(band.w, band.slot);
}
