/* Full-size 8-bit alpha, exact rounding, and the enlarged blur. Included once per instruction set. */

static void LC_NAME(over_rows)(void *context, int begin, int end) {
    const lc_over_job *job = context;
    for (int y = begin; y < end; y++) {
        const uint8_t *front = job->image + y * job->image_stride, *alpha = job->alpha + y * job->alpha_stride;
        const uint8_t *back = job->background + y * job->background_stride;
        uint8_t *out = job->out + y * job->out_stride;
        uint16_t weight[3 * 64];
        for (int x0 = 0; x0 < job->width; x0 += 64) {
            const int n = job->width - x0 < 64 ? job->width - x0 : 64;
            uint8_t mixed[3 * 64];
            const uint8_t *f = front + 3 * x0, *b = back + 3 * x0;
            for (int x = 0; x < n; x++) weight[3 * x] = weight[3 * x + 1] = weight[3 * x + 2] = alpha[x0 + x];
            for (int i = 0; i < 3 * n; i++) {
                /* Exact round(v / 255) for v up to 255 * 255. */
                const uint16_t v = (uint16_t)(f[i] * weight[i] + b[i] * (255 - weight[i]) + 128);
                mixed[i] = (uint8_t)((uint16_t)(v + (v >> 8)) >> 8);
            }
            memcpy(out + 3 * x0, mixed, (size_t)n * 3);
        }
    }
}
