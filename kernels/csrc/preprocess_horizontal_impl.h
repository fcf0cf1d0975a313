/* The horizontal pass: a row of 16-bit samples to planes of float. See preprocess.h. */

static void LC_NAME(horizontal_many)(const uint16_t *row, int channels, const struct lc_columns *columns,
                                     float *const *out, int wanted) {
    for (int x = 0; x < columns->target; x++) {
        const uint16_t *from = row + (ptrdiff_t)columns->start[x] * channels;
        const float *weights = columns->many + (ptrdiff_t)x * columns->taps;
        float sums[3] = {0, 0, 0};
        for (int k = 0; k < columns->taps; k++)
            for (int c = 0; c < wanted; c++) sums[c] += weights[k] * (float)(int16_t)from[k * channels + c];
        for (int c = 0; c < wanted; c++) out[c][x] = sums[c] * (columns->unit * 16384.0f);
    }
}

#ifdef __AVX2__
#define LC_PAIR(low, high)                                                                                   \
    _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(low))),                 \
                            _mm_loadu_si128((const __m128i *)(high)), 1)

/* Two pixels of the row per 128 bits become (c0 c0' c1 c1' c2 c2' ..), so that one multiply-add gives the sum of two
 * taps for three channels. The accumulators hold pixels (0, 4), (1, 5), (2, 6), (3, 7), one per 128 bits. */
static inline __attribute__((always_inline)) void LC_NAME(pixels)(const uint16_t *row, int channels, int pairs,
                                                                  const struct lc_columns *columns,
                                                                  const uint8_t *ahead, float *const *out) {
    const __m256i order =
        channels == 3
            ? _mm256_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1, 0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10,
                               11, -1, -1, -1, -1)
            : _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, -1, -1, -1, -1, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5,
                               12, 13, -1, -1, -1, -1);
    const __m256 unit = _mm256_set1_ps(columns->unit);
    const __m256i *weights = (const __m256i *)columns->few;
    for (int x = 0; x < columns->target; x += LC_GROUP) {
        const int32_t *start = columns->start + x;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (int line = 0; line < 256; line += 64) LC_FETCH(ahead + 32 * x + line);
        for (int p = 0; p < pairs; p++) {
            const uint16_t *from = row + 2 * channels * p;
            __m256i w = _mm256_loadu_si256(weights++);
#define LC_TAP(j, sum)                                                                                       \
    sum = _mm256_add_epi32(                                                                                  \
        sum, _mm256_madd_epi16(_mm256_shuffle_epi8(LC_PAIR(from + (ptrdiff_t)start[j] * channels,            \
                                                           from + (ptrdiff_t)start[j + 4] * channels),       \
                                                   order),                                                   \
                               _mm256_shuffle_epi32(w, 0x55 * j)))
            LC_TAP(0, sum0);
            LC_TAP(1, sum1);
            LC_TAP(2, sum2);
            LC_TAP(3, sum3);
#undef LC_TAP
        }
        __m256i a = _mm256_unpacklo_epi32(sum0, sum1), b = _mm256_unpacklo_epi32(sum2, sum3);
        __m256i c = _mm256_unpackhi_epi32(sum0, sum1), d = _mm256_unpackhi_epi32(sum2, sum3);
        __m256i plane[3] = {_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b), _mm256_unpacklo_epi64(c, d)};
        for (int k = 0; k < 3; k++)
            _mm256_storeu_ps(out[k] + x, _mm256_mul_ps(_mm256_cvtepi32_ps(plane[k]), unit));
    }
}

static void LC_NAME(horizontal_pixels)(const uint16_t *row, int channels, const struct lc_columns *columns,
                                       const uint8_t *ahead, float *const *out) {
    int pairs = columns->taps / 2;
    if (columns->many) {
        LC_NAME(horizontal_many)(row, channels, columns, out, 3);
        return;
    }
    switch (channels * 100 + pairs) { /* the common shapes, unrolled */
        case 301: LC_NAME(pixels)(row, 3, 1, columns, ahead, out); break;
        case 302: LC_NAME(pixels)(row, 3, 2, columns, ahead, out); break;
        case 303: LC_NAME(pixels)(row, 3, 3, columns, ahead, out); break;
        case 304: LC_NAME(pixels)(row, 3, 4, columns, ahead, out); break;
        case 401: LC_NAME(pixels)(row, 4, 1, columns, ahead, out); break;
        case 402: LC_NAME(pixels)(row, 4, 2, columns, ahead, out); break;
        case 403: LC_NAME(pixels)(row, 4, 3, columns, ahead, out); break;
        case 404: LC_NAME(pixels)(row, 4, 4, columns, ahead, out); break;
        default: LC_NAME(pixels)(row, channels, pairs, columns, ahead, out);
    }
}

static void LC_NAME(horizontal_plane)(const uint16_t *row, const struct lc_columns *columns, const uint8_t *ahead,
                                      float *out) {
    (void)ahead;
    if (columns->many) {
        LC_NAME(horizontal_many)(row, 1, columns, &out, 1);
        return;
    }
#ifdef __AVX512BW__
    if (columns->windows.pixels) {
        int32_t *sums = (int32_t *)out;
        switch (columns->windows.pairs) {
            case 1: LC_NAME(windowed)(row, 1, 1, &columns->windows, ahead, sums); break;
            case 2: LC_NAME(windowed)(row, 2, 1, &columns->windows, ahead, sums); break;
            case 3: LC_NAME(windowed)(row, 3, 1, &columns->windows, ahead, sums); break;
            default: LC_NAME(windowed)(row, columns->windows.pairs, 1, &columns->windows, ahead, sums);
        }
        for (int x = 0; x < columns->target; x += 16)
            _mm512_storeu_ps(out + x, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + x)),
                                                    _mm512_set1_ps(columns->unit)));
        return;
    }
#endif
    const __m256 unit = _mm256_set1_ps(columns->unit);
    const int taps = columns->taps;
    for (int x = 0; x < columns->target; x += LC_GROUP) {
        const int32_t *start = columns->start + x;
        const int16_t *w = columns->few + (ptrdiff_t)x * taps;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (int k = 0; k < taps; k += 8) {
#define LC_TAPS(j)                                                                                           \
    _mm256_madd_epi16(LC_PAIR(row + start[j] + k, row + start[j + 4] + k),                                   \
                      LC_PAIR(w + (j) * taps + k, w + ((j) + 4) * taps + k))
            sum0 = _mm256_add_epi32(sum0, LC_TAPS(0));
            sum1 = _mm256_add_epi32(sum1, LC_TAPS(1));
            sum2 = _mm256_add_epi32(sum2, LC_TAPS(2));
            sum3 = _mm256_add_epi32(sum3, LC_TAPS(3));
#undef LC_TAPS
        }
        __m256i total = _mm256_hadd_epi32(_mm256_hadd_epi32(sum0, sum1), _mm256_hadd_epi32(sum2, sum3));
        _mm256_storeu_ps(out + x, _mm256_mul_ps(_mm256_cvtepi32_ps(total), unit));
    }
}
#undef LC_PAIR
#else
static void LC_NAME(horizontal_pixels)(const uint16_t *row, int channels, const struct lc_columns *columns,
                                       const uint8_t *ahead, float *const *out) {
    (void)ahead;
    if (columns->many) {
        LC_NAME(horizontal_many)(row, channels, columns, out, 3);
        return;
    }
    for (int x = 0; x < columns->target; x++) {
        const uint16_t *from = row + (ptrdiff_t)columns->start[x] * channels;
        const int16_t *weights = columns->few + (ptrdiff_t)(x / LC_GROUP) * LC_GROUP * columns->taps + x % LC_GROUP * 2;
        int32_t sums[3] = {0, 0, 0};
        for (int k = 0; k < columns->taps; k += 2, from += 2 * channels, weights += 2 * LC_GROUP)
            for (int c = 0; c < 3; c++)
                sums[c] += weights[0] * (int16_t)from[c] + weights[1] * (int16_t)from[channels + c];
        for (int c = 0; c < 3; c++) out[c][x] = (float)sums[c] * columns->unit;
    }
}

static void LC_NAME(horizontal_plane)(const uint16_t *row, const struct lc_columns *columns, const uint8_t *ahead,
                                      float *out) {
    (void)ahead;
    if (columns->many) {
        LC_NAME(horizontal_many)(row, 1, columns, &out, 1);
        return;
    }
    for (int x = 0; x < columns->target; x++) {
        const int16_t *weights = columns->few + (ptrdiff_t)x * columns->taps;
        int32_t sum = 0;
        for (int k = 0; k < columns->taps; k++) sum += weights[k] * (int16_t)row[columns->start[x] + k];
        out[x] = (float)sum * columns->unit;
    }
}
#endif
