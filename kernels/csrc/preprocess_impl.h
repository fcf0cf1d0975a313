/* The loops of preprocess for one instruction set; see preprocess.h. Included by preprocess.c once per set.
 * All sets compute the same integers and the same float operations, so their results are identical. */

/* Samples are uint16 with 8 fractional bits; the wrapping offset makes them signed around level 128, as the multiply
 * of the horizontal pass wants them. Half a unit per tap evens out the truncation of its product. */
#define LC_BIAS(count) ((uint16_t)(0x8000 + (count) / 2))

static inline uint16_t LC_NAME(sample)(const uint8_t *const *rows, const uint16_t *weights, int count, int i) {
    if (count == 1) return (uint16_t)((rows[0][i] << 8) ^ 0x8000);
    unsigned sum = LC_BIAS(count);
    for (int k = 0; k < count; k++) sum += ((unsigned)rows[k][i] << 8) * weights[k] >> 16;
    return (uint16_t)sum;
}

#ifdef __AVX2__
#ifdef __AVX512BW__
typedef __m512i LC_NAME(vec);
#define VEC_BYTES 64
#define V(op) _mm512_##op
#define V_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define V_ZERO _mm512_setzero_si512()
/* The two halves hold bytes in 16-byte lanes; put the lanes back in order. */
#define V_STORE(p, lo, hi)                                                                                            \
    do {                                                                                                              \
        const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);                                            \
        const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);                                         \
        _mm512_storeu_si512((void *)(p), _mm512_permutex2var_epi64(lo, first, hi));                                   \
        _mm512_storeu_si512((void *)((p) + 32), _mm512_permutex2var_epi64(lo, second, hi));                           \
    } while (0)
#else
typedef __m256i LC_NAME(vec);
#define VEC_BYTES 32
#define V(op) _mm256_##op
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_ZERO _mm256_setzero_si256()
#define V_STORE(p, lo, hi)                                                                                            \
    do {                                                                                                              \
        _mm256_storeu_si256((__m256i *)(p), _mm256_permute2x128_si256(lo, hi, 0x20));                                 \
        _mm256_storeu_si256((__m256i *)((p) + 16), _mm256_permute2x128_si256(lo, hi, 0x31));                          \
    } while (0)
#endif

static inline __attribute__((always_inline)) void LC_NAME(block)(const uint8_t *const *rows,
                                                                 const LC_NAME(vec) *weights, int count, int i,
                                                                 ptrdiff_t ahead, uint16_t *out) {
    const LC_NAME(vec) zero = V_ZERO;
    LC_NAME(vec) lo = V(set1_epi16)((short)(count == 1 ? 0x8000 : LC_BIAS(count))), hi = lo;
    for (int k = 0; k < count; k++) {
        LC_NAME(vec) bytes = V_LOAD(rows[k] + i);
        _mm_prefetch((const char *)(rows[k] + i + ahead), _MM_HINT_T1);
        LC_NAME(vec) left = V(unpacklo_epi8)(zero, bytes), right = V(unpackhi_epi8)(zero, bytes); /* << 8 */
        if (count > 1) {
            left = V(mulhi_epu16)(left, weights[k]);
            right = V(mulhi_epu16)(right, weights[k]);
        }
        lo = V(add_epi16)(lo, left);
        hi = V(add_epi16)(hi, right);
    }
    V_STORE(out + i, lo, hi);
}

static inline __attribute__((always_inline)) void LC_NAME(blocks)(const uint8_t *const *rows,
                                                                  const uint16_t *weights, int count, int bytes,
                                                                  uint16_t *out) {
    LC_NAME(vec) wide[LC_FEW_TAPS];
    for (int k = 0; k < count; k++) wide[k] = V(set1_epi16)((short)weights[k]);
    /* The next output row's rows come from memory while this one is computed; past the end it does no harm. */
    ptrdiff_t ahead = count > 1 ? (rows[1] - rows[0]) * (count - 1) : 0;
    int i = 0;
    for (; i <= bytes - VEC_BYTES; i += VEC_BYTES) LC_NAME(block)(rows, wide, count, i, ahead, out);
    if (i < bytes) LC_NAME(block)(rows, wide, count, bytes - VEC_BYTES, 0, out); /* overlaps the last: same values */
}

static void LC_NAME(vertical)(const uint8_t *const *rows, const uint16_t *weights, int count, int bytes,
                              uint16_t *out) {
    if (bytes < VEC_BYTES) {
        for (int i = 0; i < bytes; i++) out[i] = LC_NAME(sample)(rows, weights, count, i);
        return;
    }
    switch (count) { /* constant counts keep weights and row pointers in registers */
        case 1: LC_NAME(blocks)(rows, weights, 1, bytes, out); break;
        case 2: LC_NAME(blocks)(rows, weights, 2, bytes, out); break;
        case 3: LC_NAME(blocks)(rows, weights, 3, bytes, out); break;
        case 4: LC_NAME(blocks)(rows, weights, 4, bytes, out); break;
        case 5: LC_NAME(blocks)(rows, weights, 5, bytes, out); break;
        case 6: LC_NAME(blocks)(rows, weights, 6, bytes, out); break;
        default: LC_NAME(blocks)(rows, weights, count, bytes, out);
    }
}
#undef VEC_BYTES
#undef V
#undef V_LOAD
#undef V_ZERO
#undef V_STORE
#else
static void LC_NAME(vertical)(const uint8_t *const *rows, const uint16_t *weights, int count, int bytes,
                              uint16_t *restrict out) {
    if (count == 1) {
        for (int i = 0; i < bytes; i++) out[i] = LC_NAME(sample)(rows, weights, 1, i);
        return;
    }
    for (int i = 0; i < bytes; i++) out[i] = LC_BIAS(count);
    for (int k = 0; k < count; k++) {
        const uint8_t *restrict row = rows[k];
        const uint16_t weight = weights[k];
        for (int i = 0; i < bytes; i++) { /* in 16 bits throughout, which compilers turn into a multiply-high */
            uint16_t shifted = (uint16_t)(row[i] << 8);
            uint16_t part = (uint16_t)(((uint32_t)shifted * (uint32_t)weight) >> 16);
            out[i] = (uint16_t)(out[i] + part);
        }
    }
}
#endif

static void LC_NAME(vertical_many)(const uint8_t *first, ptrdiff_t stride, const uint32_t *weights, int count,
                                   int bytes, uint16_t *out) {
    enum { BLOCK = 512 };
    for (int begin = 0; begin < bytes; begin += BLOCK) {
        int size = bytes - begin < BLOCK ? bytes - begin : BLOCK;
        uint32_t sums[BLOCK]; /* 255 * 2^24 + 2^15 still fits */
        for (int i = 0; i < size; i++) sums[i] = 1u << 15;
        for (int k = 0; k < count; k++) {
            const uint8_t *row = first + k * stride + begin;
            uint32_t weight = weights[k];
            for (int i = 0; i < size; i++) sums[i] += row[i] * weight;
        }
        for (int i = 0; i < size; i++) out[begin + i] = (uint16_t)((sums[i] >> 16) ^ 0x8000);
    }
}

/* 14 bits of weight and 8 of sample, back to levels around 0. */
static inline float LC_NAME(level)(int32_t sum) { return (float)sum * (1.0f / (1 << 22)); }

static void LC_NAME(horizontal_many)(const uint16_t *row, int channels, const struct lc_columns *columns,
                                     float *const *out, int wanted) {
    for (int x = 0; x < columns->target; x++) {
        const uint16_t *from = row + (ptrdiff_t)columns->start[x] * channels;
        const float *weights = columns->many + (ptrdiff_t)x * columns->taps;
        float sums[3] = {0, 0, 0};
        for (int k = 0; k < columns->taps; k++)
            for (int c = 0; c < wanted; c++) sums[c] += weights[k] * (float)(int16_t)from[k * channels + c];
        for (int c = 0; c < wanted; c++) out[c][x] = sums[c] * (1.0f / 256);
    }
}

#ifdef __AVX2__
#define LC_PAIR(low, high)                                                                                            \
    _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(low))),                          \
                            _mm_loadu_si128((const __m128i *)(high)), 1)

/* Two pixels of the row per 128 bits become (c0 c0' c1 c1' c2 c2' ..), so that one multiply-add gives the sum of two
 * taps for three channels. The accumulators hold pixels (0, 4), (1, 5), (2, 6), (3, 7), one per 128 bits. */
static inline __attribute__((always_inline)) void LC_NAME(pixels)(const uint16_t *row, int channels, int pairs,
                                                                  const struct lc_columns *columns,
                                                                  float *const *out) {
    const __m256i order =
        channels == 3
            ? _mm256_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1, 0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10,
                               11, -1, -1, -1, -1)
            : _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, -1, -1, -1, -1, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5,
                               12, 13, -1, -1, -1, -1);
    const __m256 unit = _mm256_set1_ps(1.0f / (1 << 22));
    const __m256i *weights = (const __m256i *)columns->few;
    for (int x = 0; x < columns->target; x += LC_GROUP) {
        const int32_t *start = columns->start + x;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (int p = 0; p < pairs; p++) {
            const uint16_t *from = row + 2 * channels * p;
            __m256i w = _mm256_loadu_si256(weights++);
#define LC_TAP(j, sum)                                                                                                \
    sum = _mm256_add_epi32(                                                                                           \
        sum, _mm256_madd_epi16(_mm256_shuffle_epi8(LC_PAIR(from + (ptrdiff_t)start[j] * channels,                     \
                                                           from + (ptrdiff_t)start[j + 4] * channels),                \
                                                   order),                                                            \
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

#ifdef __AVX512BW__
/* One table stays in registers while all groups that share it are done. */
static inline __attribute__((always_inline)) void LC_NAME(windowed)(const uint16_t *row, int pairs, int sums,
                                                                    const struct lc_windows *windows, int32_t *out) {
    __mmask16 used = (__mmask16)((1u << windows->pixels * sums) - 1);
    for (int t = 0; t < windows->tables; t++) {
        __m512i pick[LC_FEW_TAPS / 2], weights[LC_FEW_TAPS / 2];
        for (int p = 0; p < pairs; p++) {
            pick[p] = _mm512_loadu_si512(windows->pick + (t * pairs + p) * 32);
            weights[p] = _mm512_loadu_si512(windows->weights + (t * pairs + p) * 32);
        }
        for (int g = windows->first[t]; g < windows->first[t + 1]; g++) {
            const uint16_t *from = row + windows->start[g];
            __m512i left = _mm512_loadu_si512(from), right = _mm512_loadu_si512(from + 32);
            __m512i sum = _mm512_setzero_si512();
            for (int p = 0; p < pairs; p++)
                sum = _mm512_add_epi32(sum,
                                       _mm512_madd_epi16(_mm512_permutex2var_epi16(left, pick[p], right), weights[p]));
            _mm512_mask_storeu_epi32(out + sums * windows->to[g], used, sum);
        }
    }
}

static void LC_NAME(windowed_sums)(const uint16_t *row, const struct lc_columns *columns, int32_t *sums) {
    switch (columns->windows.pairs) { /* constant counts keep the tables in registers */
        case 1: LC_NAME(windowed)(row, 1, 3, &columns->windows, sums); break;
        case 2: LC_NAME(windowed)(row, 2, 3, &columns->windows, sums); break;
        case 3: LC_NAME(windowed)(row, 3, 3, &columns->windows, sums); break;
        default: LC_NAME(windowed)(row, columns->windows.pairs, 3, &columns->windows, sums);
    }
}

/* Three vectors of interleaved sums to one of plane k, which are the elements 3 i + k. Those from 32 on lie in c. */
static inline __attribute__((always_inline)) __m512 LC_NAME(third)(__m512i a, __m512i b, __m512i c, int k) {
    __m512i at = _mm512_add_epi32(_mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45),
                                  _mm512_set1_epi32(k));
    __m512i low = _mm512_permutex2var_epi32(a, at, b);
    __m512i all = _mm512_mask_permutexvar_epi32(low, (__mmask16)(0xffff << (34 - k) / 3), at, c);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(all), _mm512_set1_ps(1.0f / (1 << 22)));
}

static void LC_NAME(sums_to_planes)(const int32_t *sums, int count, float *const *out) {
    for (int x = 0; x < count; x += 16) {
        __m512i a = _mm512_loadu_si512(sums + 3 * x), b = _mm512_loadu_si512(sums + 3 * x + 16);
        __m512i c = _mm512_loadu_si512(sums + 3 * x + 32);
        for (int k = 0; k < 3; k++) _mm512_storeu_ps(out[k] + x, LC_NAME(third)(a, b, c, k));
    }
}

static inline __m512i LC_NAME(bytes_of)(__m512 red, __m512 green, __m512 blue) {
    const __m512i squeeze =
        _mm512_setr_epi32(0x04020100, 0x09080605, 0x0e0d0c0a, 0x14121110, 0x19181615, 0x1e1d1c1a, 0x24222120,
                          0x29282625, 0x2e2d2c2a, 0x34323130, 0x39383635, 0x3e3d3c3a, 0, 0, 0, 0);
    const __m512 middle = _mm512_set1_ps(128.5f);
    __m512i r = _mm512_cvttps_epi32(_mm512_add_ps(red, middle)), g = _mm512_cvttps_epi32(_mm512_add_ps(green, middle));
    __m512i b = _mm512_cvttps_epi32(_mm512_add_ps(blue, middle));
    return _mm512_permutexvar_epi8(
        squeeze, _mm512_or_si512(r, _mm512_or_si512(_mm512_slli_epi32(g, 8), _mm512_slli_epi32(b, 16))));
}

/* 16 pixels in the first 48 bytes; a full store is cheaper than a masked one, but reaches past them. */
static inline void LC_NAME(put_bytes)(uint8_t *out, __m512i bytes, int left) {
    if (left >= 22)
        _mm512_storeu_si512(out, bytes);
    else
        _mm512_mask_storeu_epi8(out, left >= 16 ? 0xffffffffffff : (1ull << 3 * left) - 1, bytes);
}

static inline __attribute__((always_inline)) void LC_NAME(finish_as)(const int32_t *sums, int count, int red,
                                                                     const struct lc_finish *to) {
    __m512 scale[3], offset[3];
    for (int k = 0; k < 3; k++) {
        scale[k] = _mm512_set1_ps(to->scale[k]);
        offset[k] = _mm512_set1_ps(to->offset[k]);
    }
    for (int x = 0; x < count; x += 16) {
        __m512i a = _mm512_loadu_si512(sums + 3 * x), b = _mm512_loadu_si512(sums + 3 * x + 16);
        __m512i c = _mm512_loadu_si512(sums + 3 * x + 32);
        __m512 level[3];
        for (int k = 0; k < 3; k++) {
            level[k] = LC_NAME(third)(a, b, c, k);
            __m512 value = _mm512_add_ps(_mm512_mul_ps(level[k], scale[k]), offset[k]);
            if (count - x >= 16)
                _mm512_storeu_ps(to->out[k] + x, value);
            else
                _mm512_mask_storeu_ps(to->out[k] + x, (__mmask16)((1u << (count - x)) - 1), value);
        }
        if (to->small)
            LC_NAME(put_bytes)(to->small + 3 * x, LC_NAME(bytes_of)(level[red], level[1], level[2 - red]), count - x);
    }
}

static void LC_NAME(finish)(const int32_t *sums, int count, const struct lc_finish *to) {
    if (to->red)
        LC_NAME(finish_as)(sums, count, 2, to);
    else
        LC_NAME(finish_as)(sums, count, 0, to);
}
#endif

static void LC_NAME(horizontal_pixels)(const uint16_t *row, int channels, const struct lc_columns *columns,
                                       float *const *out) {
    int pairs = columns->taps / 2;
    if (columns->many) {
        LC_NAME(horizontal_many)(row, channels, columns, out, 3);
        return;
    }
    switch (channels * 100 + pairs) { /* the common shapes, unrolled */
        case 301: LC_NAME(pixels)(row, 3, 1, columns, out); break;
        case 302: LC_NAME(pixels)(row, 3, 2, columns, out); break;
        case 303: LC_NAME(pixels)(row, 3, 3, columns, out); break;
        case 304: LC_NAME(pixels)(row, 3, 4, columns, out); break;
        case 401: LC_NAME(pixels)(row, 4, 1, columns, out); break;
        case 402: LC_NAME(pixels)(row, 4, 2, columns, out); break;
        case 403: LC_NAME(pixels)(row, 4, 3, columns, out); break;
        case 404: LC_NAME(pixels)(row, 4, 4, columns, out); break;
        default: LC_NAME(pixels)(row, channels, pairs, columns, out);
    }
}

static void LC_NAME(horizontal_plane)(const uint16_t *row, const struct lc_columns *columns, float *out) {
    if (columns->many) {
        LC_NAME(horizontal_many)(row, 1, columns, &out, 1);
        return;
    }
#ifdef __AVX512BW__
    if (columns->windows.pixels) {
        int32_t *sums = (int32_t *)out;
        switch (columns->windows.pairs) {
            case 1: LC_NAME(windowed)(row, 1, 1, &columns->windows, sums); break;
            case 2: LC_NAME(windowed)(row, 2, 1, &columns->windows, sums); break;
            case 3: LC_NAME(windowed)(row, 3, 1, &columns->windows, sums); break;
            default: LC_NAME(windowed)(row, columns->windows.pairs, 1, &columns->windows, sums);
        }
        for (int x = 0; x < columns->target; x += 16)
            _mm512_storeu_ps(out + x, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + x)),
                                                    _mm512_set1_ps(1.0f / (1 << 22))));
        return;
    }
#endif
    const __m256 unit = _mm256_set1_ps(1.0f / (1 << 22));
    const int taps = columns->taps;
    for (int x = 0; x < columns->target; x += LC_GROUP) {
        const int32_t *start = columns->start + x;
        const int16_t *w = columns->few + (ptrdiff_t)x * taps;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (int k = 0; k < taps; k += 8) {
#define LC_TAPS(j)                                                                                                    \
    _mm256_madd_epi16(LC_PAIR(row + start[j] + k, row + start[j + 4] + k),                                            \
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
                                       float *const *out) {
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
        for (int c = 0; c < 3; c++) out[c][x] = LC_NAME(level)(sums[c]);
    }
}

static void LC_NAME(horizontal_plane)(const uint16_t *row, const struct lc_columns *columns, float *out) {
    if (columns->many) {
        LC_NAME(horizontal_many)(row, 1, columns, &out, 1);
        return;
    }
    for (int x = 0; x < columns->target; x++) {
        const int16_t *weights = columns->few + (ptrdiff_t)x * columns->taps;
        int32_t sum = 0;
        for (int k = 0; k < columns->taps; k++) sum += weights[k] * (int16_t)row[columns->start[x] + k];
        out[x] = LC_NAME(level)(sum);
    }
}
#endif

static void LC_NAME(split)(const uint16_t *restrict pairs, int count, uint16_t *restrict first,
                           uint16_t *restrict second) {
    for (int i = 0; i < count; i++) {
        first[i] = pairs[2 * i];
        second[i] = pairs[2 * i + 1];
    }
}

static inline float LC_NAME(clip)(float value, float least, float most) {
    value = value > least ? value : least;
    return value < most ? value : most;
}

static void LC_NAME(yuv_to_rgb)(const float *yuv, int count, float *restrict y_to_r, float *restrict u_to_g,
                                float *restrict v_to_b) {
    const float scale = yuv[0], offset = yuv[1], cr_r = yuv[2], cb_g = yuv[3], cr_g = yuv[4], cb_b = yuv[5];
    int i = 0;
#ifdef __AVX2__ /* a choice between floats compiles to a compare and a blend; these are one instruction */
    const __m256 least = _mm256_set1_ps(-128.0f), most = _mm256_set1_ps(127.0f);
    for (; i <= count - 8; i += 8) {
        __m256 y = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(y_to_r + i), _mm256_set1_ps(scale)),
                                 _mm256_set1_ps(offset));
        __m256 cb = _mm256_loadu_ps(u_to_g + i), cr = _mm256_loadu_ps(v_to_b + i);
        __m256 r = _mm256_add_ps(y, _mm256_mul_ps(_mm256_set1_ps(cr_r), cr));
        __m256 g = _mm256_add_ps(_mm256_add_ps(y, _mm256_mul_ps(_mm256_set1_ps(cb_g), cb)),
                                 _mm256_mul_ps(_mm256_set1_ps(cr_g), cr));
        __m256 b = _mm256_add_ps(y, _mm256_mul_ps(_mm256_set1_ps(cb_b), cb));
        _mm256_storeu_ps(y_to_r + i, _mm256_min_ps(_mm256_max_ps(r, least), most));
        _mm256_storeu_ps(u_to_g + i, _mm256_min_ps(_mm256_max_ps(g, least), most));
        _mm256_storeu_ps(v_to_b + i, _mm256_min_ps(_mm256_max_ps(b, least), most));
    }
#endif
    for (; i < count; i++) {
        float y = y_to_r[i] * scale + offset, cb = u_to_g[i], cr = v_to_b[i];
        y_to_r[i] = LC_NAME(clip)(y + cr_r * cr, -128.0f, 127.0f);
        u_to_g[i] = LC_NAME(clip)(y + cb_g * cb + cr_g * cr, -128.0f, 127.0f);
        v_to_b[i] = LC_NAME(clip)(y + cb_b * cb, -128.0f, 127.0f);
    }
}

static void LC_NAME(scale)(const float *restrict in, int count, float scale, float offset, float *restrict out) {
    for (int i = 0; i < count; i++) out[i] = in[i] * scale + offset;
}

static void LC_NAME(to_half)(const float *in, int count, uint16_t *out) {
    int i = 0;
#ifdef __F16C__
    for (; i <= count - 8; i += 8)
        _mm_storeu_si128((__m128i *)(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
    for (; i < count; i++) out[i] = float_to_half(in[i]);
}

static void LC_NAME(to_bytes)(const float *restrict in, int count, uint8_t *restrict out) {
    for (int i = 0; i < count; i++) out[i] = (uint8_t)(int32_t)(LC_NAME(clip)(in[i], 0.0f, 255.0f) + 0.5f);
}

static void LC_NAME(interleave)(float *const *in, int count, float *restrict out) {
    const float *restrict a = in[0], *restrict b = in[1], *restrict c = in[2];
    for (int i = 0; i < count; i++) {
        out[3 * i] = a[i];
        out[3 * i + 1] = b[i];
        out[3 * i + 2] = c[i];
    }
}

/* The planes are levels - 128, inside 0..255 but for less than the rounding. */
static void LC_NAME(interleave_bytes)(float *const *in, int count, uint8_t *restrict out) {
    int i = 0;
#ifdef __AVX512BW__
    for (; i < count; i += 16) {
        __m512i bytes = LC_NAME(bytes_of)(_mm512_loadu_ps(in[0] + i), _mm512_loadu_ps(in[1] + i),
                                          _mm512_loadu_ps(in[2] + i));
        LC_NAME(put_bytes)(out + 3 * i, bytes, count - i);
    }
#elif defined __AVX2__
    const __m256 middle = _mm256_set1_ps(128.5f);
    const __m256i squeeze = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6,
                                             8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (; i <= count - 10; i += 8) { /* the last store reaches 4 bytes past its 8 pixels */
        __m256i level[3];
        for (int c = 0; c < 3; c++)
            level[c] = _mm256_cvttps_epi32(_mm256_add_ps(_mm256_loadu_ps(in[c] + i), middle));
        __m256i pixels = _mm256_or_si256(_mm256_or_si256(level[0], _mm256_slli_epi32(level[1], 8)),
                                         _mm256_slli_epi32(level[2], 16));
        pixels = _mm256_shuffle_epi8(pixels, squeeze);
        _mm_storeu_si128((__m128i *)(out + 3 * i), _mm256_castsi256_si128(pixels));
        _mm_storeu_si128((__m128i *)(out + 3 * i + 12), _mm256_extracti128_si256(pixels, 1));
    }
#endif
    for (; i < count; i++)
        for (int c = 0; c < 3; c++) out[3 * i + c] = (uint8_t)(int32_t)(in[c][i] + 128.5f);
}

static const struct lc_preprocess_ops LC_NAME(preprocess_ops) = {
    .vertical = LC_NAME(vertical),
    .vertical_many = LC_NAME(vertical_many),
    .horizontal_pixels = LC_NAME(horizontal_pixels),
#ifdef __AVX512BW__
    .windowed_sums = LC_NAME(windowed_sums),
    .sums_to_planes = LC_NAME(sums_to_planes),
    .finish = LC_NAME(finish),
#endif
    .horizontal_plane = LC_NAME(horizontal_plane),
    .split = LC_NAME(split),
    .yuv_to_rgb = LC_NAME(yuv_to_rgb),
    .scale = LC_NAME(scale),
    .to_half = LC_NAME(to_half),
    .to_bytes = LC_NAME(to_bytes),
    .interleave = LC_NAME(interleave),
    .interleave_bytes = LC_NAME(interleave_bytes),
};
#undef LC_BIAS
