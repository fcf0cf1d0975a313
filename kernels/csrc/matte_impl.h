/* The loops of matte.h for one instruction set, included by matte.c once per set. Results are identical. */

#ifdef __AVX512BW__
#define VEC_BYTES 64
#define VEC __m512i
#define V(op) _mm512_##op
#define V_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define V_STORE(p, v) _mm512_storeu_si512((void *)(p), v)
#define V_ZERO _mm512_setzero_si512()
#define V_AND _mm512_and_si512
#define V_OR _mm512_or_si512
#elif defined __AVX2__
#define VEC_BYTES 32
#define VEC __m256i
#define V(op) _mm256_##op
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define V_ZERO _mm256_setzero_si256()
#define V_AND _mm256_and_si256
#define V_OR _mm256_or_si256
#endif

/* Comparisons become masks: written as choices, they would be branches that random noise mispredicts. */
static inline uint8_t LC_NAME(excess)(uint8_t more, uint8_t less) {
    return (uint8_t)((more - less) & -(more > less));
}

static inline uint8_t LC_NAME(taper)(uint8_t more, uint8_t less, uint8_t twice) {
    uint8_t up = LC_NAME(excess)(more, less), rest = LC_NAME(excess)(twice, up);
    return (uint8_t)(rest ^ ((up ^ rest) & -(up < rest)));
}

/* One row; `left` and `right` are how far the neighbours lie, 0 at a border. */
static inline __attribute__((always_inline)) void LC_NAME(denoise_span)(const uint8_t *above, const uint8_t *row,
                                                                        const uint8_t *below, uint8_t *restrict out,
                                                                        int begin, int end, int left, int right,
                                                                        uint8_t twice) {
    for (int i = begin; i < end; i++) {
        uint8_t here = row[i];
        uint8_t up = 0, down = 0;
#define LC_NEIGHBOUR(value)                                                                                  \
    do {                                                                                                     \
        uint8_t there = (value);                                                                             \
        up = (uint8_t)(up + LC_NAME(taper)(there, here, twice));                                             \
        down = (uint8_t)(down + LC_NAME(taper)(here, there, twice));                                         \
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
        uint16_t more = (uint16_t)(LC_NAME(excess)(up, down) + 4), less = (uint16_t)(LC_NAME(excess)(down, up) + 4);
        out[i] = (uint8_t)(here + ((uint16_t)(more * 57) >> 9) - ((uint16_t)(less * 57) >> 9));
    }
}

#ifdef VEC_BYTES
static inline VEC LC_NAME(ninth)(VEC bytes) { /* the same x * 57 >> 9 (x * 7296 >> 16), on even and odd bytes */
    const VEC low = V(set1_epi16)(0x00ff), factor = V(set1_epi16)(57 * 128);
    VEC sum = V(add_epi8)(bytes, V(set1_epi8)(4));
    VEC even = V(mulhi_epu16)(V_AND(sum, low), factor);
    VEC odd = V(mulhi_epu16)(V(srli_epi16)(sum, 8), factor);
    return V_OR(even, V(slli_epi16)(odd, 8));
}

/* The middle of a row, a vector at a time; returns where it stopped. */
static int LC_NAME(denoise_vectors)(const uint8_t *above, const uint8_t *row, const uint8_t *below, uint8_t *out,
                                    int begin, int end, int step, uint8_t twice) {
    const VEC most = V(set1_epi8)((char)twice);
    const uint8_t *lines[3] = {above, row, below};
    int i = begin;
    for (; i <= end - VEC_BYTES; i += VEC_BYTES) {
        VEC here = V_LOAD(row + i), up = V_ZERO, down = V_ZERO;
        for (int k = 0; k < 9; k++) {
            if (k == 4) continue;
            VEC there = V_LOAD(lines[k / 3] + i + (k % 3 - 1) * step);
            VEC more = V(subs_epu8)(there, here), less = V(subs_epu8)(here, there);
            up = V(add_epi8)(up, V(min_epu8)(more, V(subs_epu8)(most, more)));
            down = V(add_epi8)(down, V(min_epu8)(less, V(subs_epu8)(most, less)));
        }
        VEC raise = LC_NAME(ninth)(V(subs_epu8)(up, down)), lower = LC_NAME(ninth)(V(subs_epu8)(down, up));
        V_STORE(out + i, V(sub_epi8)(V(add_epi8)(here, raise), lower));
    }
    return i;
}
#endif

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
        int middle = step;
#ifdef VEC_BYTES
        middle = LC_NAME(denoise_vectors)(above, row, below, out, step, bytes - step, step, twice);
#else
        enum { BLOCK = 256 };
        for (; middle <= bytes - step - BLOCK; middle += BLOCK) { /* into memory that cannot overlap: vectorises */
            uint8_t block[BLOCK];
            LC_NAME(denoise_span)(above + middle, row + middle, below + middle, block, 0, BLOCK, step, step, twice);
            memcpy(out + middle, block, BLOCK);
        }
#endif
        LC_NAME(denoise_span)(above, row, below, out, middle, bytes - step, step, step, twice);
        LC_NAME(denoise_span)(above, row, below, out, bytes - step, bytes, step, 0, twice);
    }
}

/* Luma with weights of 38, 75 and 15 in 128, which fit the byte multiply. */
static int LC_NAME(luma_vectors)(const uint8_t *rgb, int count, uint8_t *luma, uint8_t *moved) {
    int x = 0;
#ifdef __AVX512BW__
    const __m512i spread = _mm512_setr_epi32(0x3f020100, 0x3f050403, 0x3f080706, 0x3f0b0a09, 0x3f0e0d0c, 0x3f11100f,
                                             0x3f141312, 0x3f171615, 0x3f1a1918, 0x3f1d1c1b, 0x3f201f1e, 0x3f232221,
                                             0x3f262524, 0x3f292827, 0x3f2c2b2a, 0x3f2f2e2d);
    for (; x <= count - 22; x += 16) { /* reads 64 bytes, uses 48 */
        __m512i pixels = _mm512_permutexvar_epi8(spread, _mm512_loadu_si512(rgb + 3 * x));
        __m512i pairs = _mm512_maddubs_epi16(pixels, _mm512_set1_epi32(0x000f4b26));
        __m512i sum = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
        __m128i now = _mm512_cvtepi32_epi8(_mm512_srli_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(64)), 7));
        __m128i then = _mm_loadu_si128((const __m128i *)(luma + x));
        _mm_storeu_si128((__m128i *)(moved + x), _mm_or_si128(_mm_subs_epu8(now, then), _mm_subs_epu8(then, now)));
        _mm_storeu_si128((__m128i *)(luma + x), now);
    }
#elif defined __AVX2__
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    const __m128i weights = _mm_set1_epi32(0x000f4b26), ones = _mm_set1_epi16(1), half = _mm_set1_epi32(64);
    for (; x <= count - 10; x += 8) { /* reads 28 bytes, uses 24 */
        __m128i four[2];
        for (int k = 0; k < 2; k++) {
            __m128i pixels = _mm_loadu_si128((const __m128i *)(rgb + 3 * x + 12 * k));
            __m128i pairs = _mm_maddubs_epi16(_mm_shuffle_epi8(pixels, spread), weights);
            four[k] = _mm_srli_epi32(_mm_add_epi32(_mm_madd_epi16(pairs, ones), half), 7);
        }
        __m128i now = _mm_packus_epi16(_mm_packus_epi32(four[0], four[1]), _mm_setzero_si128());
        __m128i then = _mm_loadl_epi64((const __m128i *)(luma + x));
        _mm_storel_epi64((__m128i *)(moved + x), _mm_or_si128(_mm_subs_epu8(now, then), _mm_subs_epu8(then, now)));
        _mm_storel_epi64((__m128i *)(luma + x), now);
    }
#endif
    return x;
}

static inline void LC_NAME(alpha_change)(float *restrict alpha, const float *restrict previous, int count,
                                         uint8_t *restrict jumped) {
    for (int x = 0; x < count; x++) {
        float value = alpha[x] > 0.0f ? alpha[x] : 0.0f; /* a NaN counts as 0 and does not stay in the state */
        value = value < 1.0f ? value : 1.0f;
        alpha[x] = value;
        float jump = value - previous[x];
        jump = jump < 0.0f ? -jump : jump;
        jumped[x] = (uint8_t)(int32_t)(jump * 255.0f + 0.5f);
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
        for (int x = LC_NAME(luma_vectors)(rgb, width, luma, moved + 1); x < width; x++) {
            uint8_t now = (uint8_t)((38 * rgb[3 * x] + 75 * rgb[3 * x + 1] + 15 * rgb[3 * x + 2] + 64) >> 7);
            uint8_t then = luma[x];
            moved[x + 1] = (uint8_t)((now > then ? now : then) - (now > then ? then : now));
            luma[x] = now;
        }
        LC_NAME(alpha_change)(alpha, previous, width, jumped + 1);
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

/* Sums over 3x3 of one of the two changes. */
static inline void LC_NAME(nine)(const uint8_t *above, const uint8_t *row, const uint8_t *below, int count,
                                 uint16_t *restrict out) {
    for (int x = 0; x < count; x++)
        out[x] = (uint16_t)(above[x] + above[x + 1] + above[x + 2] + row[x] + row[x + 1] + row[x + 2] + below[x] +
                            below[x + 1] + below[x + 2]);
}

/* The mixing itself: apart from the sums, so that each loop has one width of data. */
static inline void LC_NAME(mix)(const uint16_t *restrict moved, const uint16_t *restrict jumped,
                                const struct lc_temporal *job, int count, float *restrict alpha,
                                float *restrict previous) {
    const float still = job->still * 9.0f, motion_scale = 1.0f / (9.0f * (job->moving - job->still));
    const float steady = job->steady * 9.0f, jump_scale = 1.0f / (9.0f * (job->jump - job->steady));
    const float base = job->base, rest = 1.0f - job->base;
    for (int x = 0; x < count; x++) {
        float motion = LC_NAME(smoothstep)((float)moved[x], still, motion_scale);
        float jump = LC_NAME(smoothstep)((float)jumped[x], steady, jump_scale);
        float weight = base + rest * (motion > jump ? motion : jump);
        float value = previous[x] + weight * (alpha[x] - previous[x]);
        alpha[x] = value;
        previous[x] = value;
    }
}

/* Second pass: the more a neighbourhood moved or jumped, the more the new alpha counts. */
static void LC_NAME(smooth_rows)(void *context, int begin, int end) {
    const struct lc_temporal *job = context;
    const int width = job->width;
    const ptrdiff_t pitch = width + 2;
    enum { BLOCK = 256 };
    for (int y = begin; y < end; y++) {
        float *alpha = (float *)((char *)job->alpha + y * job->alpha_stride);
        float *previous = job->previous + (size_t)y * width;
        const uint8_t *moved = job->moved + y * pitch, *jumped = job->jumped + y * pitch;
        const ptrdiff_t up = y ? pitch : 0, down = y + 1 < job->height ? pitch : 0;
        for (int x = 0; x < width; x += BLOCK) {
            uint16_t motion[BLOCK], jump[BLOCK];
            int count = width - x < BLOCK ? width - x : BLOCK;
            LC_NAME(nine)(moved + x - up, moved + x, moved + x + down, count, motion);
            LC_NAME(nine)(jumped + x - up, jumped + x, jumped + x + down, count, jump);
            LC_NAME(mix)(motion, jump, job, count, alpha + x, previous + x);
        }
    }
}

static int LC_NAME(count_row)(const uint8_t *row, int width, uint8_t threshold) {
    int total = 0, x = 0;
#ifdef __AVX512BW__
    const __m512i least = _mm512_set1_epi8((char)threshold);
    for (; x <= width - 64; x += 64)
        total += (int)_mm_popcnt_u64(_mm512_cmpge_epu8_mask(_mm512_loadu_si512(row + x), least));
#elif defined __AVX2__
    const __m256i least = _mm256_set1_epi8((char)threshold);
    for (; x <= width - 32; x += 32) {
        __m256i bytes = V_LOAD(row + x); /* unsigned >= is what a maximum leaves unchanged */
        __m256i same = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, least), bytes);
        total += _mm_popcnt_u32((unsigned)_mm256_movemask_epi8(same));
    }
#endif
    for (; x < width; x++) total += row[x] >= threshold;
    return total;
}
#ifdef VEC_BYTES
#undef VEC_BYTES
#undef VEC
#undef V
#undef V_LOAD
#undef V_STORE
#undef V_ZERO
#undef V_AND
#undef V_OR
#endif
