/* The loops of matte.h for one instruction set, included by matte.c once per set. The compiler vectorises them: every
 * loop is written in the width of its data. */

static inline uint8_t LC_NAME(taper)(uint8_t more, uint8_t less, uint8_t twice) {
    uint8_t up = (uint8_t)((more > less ? more : less) - less); /* 0 where more <= less */
    uint8_t rest = (uint8_t)((twice > up ? twice : up) - up);
    return up < rest ? up : rest;
}

/* One row; `left` and `right` are how far the neighbours lie, 0 at a border. */
static inline __attribute__((always_inline)) void LC_NAME(denoise_span)(const uint8_t *above, const uint8_t *row,
                                                                        const uint8_t *below, uint8_t *restrict out,
                                                                        int begin, int end, int left, int right,
                                                                        uint8_t twice) {
    for (int i = begin; i < end; i++) {
        uint8_t here = row[i];
        uint8_t up = 0, down = 0;
#define LC_NEIGHBOUR(value)                                                                                           \
    do {                                                                                                              \
        uint8_t there = (value);                                                                                      \
        up = (uint8_t)(up + LC_NAME(taper)(there, here, twice));                                                      \
        down = (uint8_t)(down + LC_NAME(taper)(here, there, twice));                                                  \
    } while (0)
        LC_NEIGHBOUR(above[i - left]);
        LC_NEIGHBOUR(above[i]);
        LC_NEIGHBOUR(above[i + right]);
        LC_NEIGHBOUR(row[i - left]);
        LC_NEIGHBOUR(row[i + right]);
        LC_NEIGHBOUR(below[i - left]);
        LC_NEIGHBOUR(below[i]);
        LC_NEIGHBOUR(below[i + right]);
#undef LC_NEIGHBOUR
        /* x * 57 >> 9 is x / 9 for every x up to 252; halves do not exist, so the sign does not matter */
        uint16_t more = (uint16_t)((up > down ? up - down : 0) + 4), less = (uint16_t)((down > up ? down - up : 0) + 4);
        out[i] = (uint8_t)(here + (uint16_t)(more * 57) / 512 - (uint16_t)(less * 57) / 512);
    }
}

static void LC_NAME(denoise_rows)(void *context, int begin, int end) {
    const struct lc_denoise *job = context;
    const int bytes = job->row_bytes, step = job->channels;
    const uint8_t twice = (uint8_t)(2 * job->strength);
    for (int y = begin; y < end; y++) {
        const uint8_t *row = job->in + y * job->in_stride;
        const uint8_t *above = y ? row - job->in_stride : row;
        const uint8_t *below = y + 1 < job->height ? row + job->in_stride : row;
        uint8_t *out = job->out + y * job->out_stride;
        if (bytes == step) {
            LC_NAME(denoise_span)(above, row, below, out, 0, bytes, 0, 0, twice);
            continue;
        }
        LC_NAME(denoise_span)(above, row, below, out, 0, step, 0, step, twice);
        LC_NAME(denoise_span)(above, row, below, out, step, bytes - step, step, step, twice);
        LC_NAME(denoise_span)(above, row, below, out, bytes - step, bytes, step, 0, twice);
    }
}

/* First pass of the temporal kernel: what changed since the frame before. */
static void LC_NAME(change_rows)(void *context, int begin, int end) {
    const struct lc_temporal *job = context;
    const int width = job->width;
    for (int y = begin; y < end; y++) {
        const uint8_t *restrict rgb = job->small + y * job->small_stride;
        float *restrict alpha = (float *)((char *)job->alpha + y * job->alpha_stride);
        float *restrict previous = job->previous + (size_t)y * width;
        uint8_t *restrict luma = job->luma + (size_t)y * width;
        uint8_t *restrict moved = job->moved + (size_t)y * (width + 2);
        uint8_t *restrict jumped = job->jumped + (size_t)y * (width + 2);
        for (int x = 0; x < width; x++) {
            uint8_t now = (uint8_t)((77 * rgb[3 * x] + 150 * rgb[3 * x + 1] + 29 * rgb[3 * x + 2] + 128) >> 8);
            uint8_t then = luma[x];
            moved[x + 1] = (uint8_t)((now > then ? now : then) - (now > then ? then : now));
            luma[x] = now;
        }
        for (int x = 0; x < width; x++) {
            float value = alpha[x] > 0.0f ? alpha[x] : 0.0f; /* a NaN counts as 0 and does not stay in the state */
            value = value < 1.0f ? value : 1.0f;
            alpha[x] = value;
            float jump = value - previous[x];
            jump = jump < 0.0f ? -jump : jump;
            jumped[x + 1] = (uint8_t)(int32_t)(jump * 255.0f + 0.5f);
        }
        if (job->first) {
            memcpy(previous, alpha, width * sizeof(float));
            continue;
        }
        moved[0] = moved[1];
        moved[width + 1] = moved[width];
        jumped[0] = jumped[1];
        jumped[width + 1] = jumped[width];
    }
}

static inline float LC_NAME(smoothstep)(float value, float from, float scale) {
    float t = (value - from) * scale;
    t = t > 0.0f ? t : 0.0f;
    t = t < 1.0f ? t : 1.0f;
    return t * t * (3.0f - 2.0f * t);
}

static inline uint16_t LC_NAME(nine)(const uint8_t *above, const uint8_t *row, const uint8_t *below, int x) {
    return (uint16_t)(above[x] + above[x + 1] + above[x + 2] + row[x] + row[x + 1] + row[x + 2] + below[x] +
                      below[x + 1] + below[x + 2]);
}

/* Second pass: the more a neighbourhood moved or jumped, the more the new alpha counts. */
static void LC_NAME(smooth_rows)(void *context, int begin, int end) {
    const struct lc_temporal *job = context;
    const int width = job->width;
    const ptrdiff_t pitch = width + 2;
    const float still = job->still * 9.0f, motion_scale = 1.0f / (9.0f * (job->moving - job->still));
    const float steady = job->steady * 9.0f, jump_scale = 1.0f / (9.0f * (job->jump - job->steady));
    const float base = job->base, rest = 1.0f - job->base;
    for (int y = begin; y < end; y++) {
        float *restrict alpha = (float *)((char *)job->alpha + y * job->alpha_stride);
        float *restrict previous = job->previous + (size_t)y * width;
        const uint8_t *moved = job->moved + y * pitch, *jumped = job->jumped + y * pitch;
        const ptrdiff_t up = y ? pitch : 0, down = y + 1 < job->height ? pitch : 0;
        const uint8_t *moved_up = moved - up, *moved_down = moved + down;
        const uint8_t *jumped_up = jumped - up, *jumped_down = jumped + down;
        for (int x = 0; x < width; x++) {
            float motion = LC_NAME(smoothstep)((float)LC_NAME(nine)(moved_up, moved, moved_down, x), still,
                                               motion_scale);
            float jump = LC_NAME(smoothstep)((float)LC_NAME(nine)(jumped_up, jumped, jumped_down, x), steady,
                                             jump_scale);
            float weight = base + rest * (motion > jump ? motion : jump);
            float value = previous[x] + weight * (alpha[x] - previous[x]);
            alpha[x] = value;
            previous[x] = value;
        }
    }
}

static int LC_NAME(count_row)(const uint8_t *row, int width, uint8_t threshold) {
    int total = 0;
    for (int begin = 0; begin < width; begin += 255 * 64) { /* int sums of byte comparisons, a block at a time */
        int end = width - begin < 255 * 64 ? width : begin + 255 * 64;
        int part = 0;
        for (int x = begin; x < end; x++) part += row[x] >= threshold;
        total += part;
    }
    return total;
}
