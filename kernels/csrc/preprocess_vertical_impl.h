/* The vertical pass: source rows to one row of 16-bit samples. See preprocess.h. */

/* Samples are uint16 with 8 fractional bits; the wrapping offset makes them signed around level 128, as the multiply
 * of the horizontal pass wants them. Half a unit per tap evens out the truncation of its product. */
#define LC_BIAS(count) ((uint16_t)(0x8000 + (count) / 2))

static inline uint16_t LC_NAME(sample)(const uint8_t *const *rows, const uint16_t *weights, int count, int i) {
    if (count == 1) return (uint16_t)((rows[0][i] << 8) ^ 0x8000);
    unsigned sum = LC_BIAS(count);
    for (int k = 0; k < count; k++) sum += ((unsigned)rows[k][i] << 8) * weights[k] >> 16;
    return (uint16_t)sum;
}

static void LC_NAME(exact_samples)(const uint8_t *const *rows, const uint8_t *weights, int one, int count, int bytes,
                                   uint16_t *restrict out) {
    for (int i = 0; i < bytes; i++) out[i] = (uint16_t)(-128 * one);
    for (int k = 0; k < count; k++) {
        const uint8_t *restrict row = rows[k];
        const uint16_t weight = weights[k];
        for (int i = 0; i < bytes; i++) out[i] = (uint16_t)(out[i] + (uint16_t)(row[i] * weight));
    }
}

#ifdef __AVX2__
#ifdef __AVX512BW__
typedef __m512i LC_NAME(vec);
#define VEC_BYTES 64
#define V(op) _mm512_##op
#define V_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define V_ZERO _mm512_setzero_si512()
/* The two halves hold bytes in 16-byte lanes; put the lanes back in order. */
#define V_STORE(p, lo, hi)                                                                                   \
    do {                                                                                                     \
        const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);                                   \
        const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);                                \
        _mm512_storeu_si512((void *)(p), _mm512_permutex2var_epi64(lo, first, hi));                          \
        _mm512_storeu_si512((void *)((p) + 32), _mm512_permutex2var_epi64(lo, second, hi));                  \
    } while (0)
#else
typedef __m256i LC_NAME(vec);
#define VEC_BYTES 32
#define V(op) _mm256_##op
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_ZERO _mm256_setzero_si256()
#define V_STORE(p, lo, hi)                                                                                   \
    do {                                                                                                     \
        _mm256_storeu_si256((__m256i *)(p), _mm256_permute2x128_si256(lo, hi, 0x20));                        \
        _mm256_storeu_si256((__m256i *)((p) + 16), _mm256_permute2x128_si256(lo, hi, 0x31));                 \
    } while (0)
#endif

/* Where the first aligned vector begins: rows of most widths lie alike, and a load across cache lines costs two. */
static inline int LC_NAME(aligned)(const uint8_t *row) { return (int)(-(uintptr_t)row % VEC_BYTES); }

static inline __attribute__((always_inline)) void LC_NAME(block)(const uint8_t *const *rows,
                                                                 const LC_NAME(vec) *weights, int count, int i,
                                                                 const uint8_t *ahead, uint16_t *out) {
    const LC_NAME(vec) zero = V_ZERO;
    LC_FETCH(ahead + i);
    LC_NAME(vec) lo = V(set1_epi16)((short)(count == 1 ? 0x8000 : LC_BIAS(count))), hi = lo;
    for (int k = 0; k < count; k++) {
        LC_NAME(vec) bytes = V_LOAD(rows[k] + i);
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
                                                                  const uint8_t *ahead, uint16_t *out) {
    LC_NAME(vec) wide[LC_FEW_TAPS];
    for (int k = 0; k < count; k++) wide[k] = V(set1_epi16)((short)weights[k]);
    int i = LC_NAME(aligned)(rows[0]);
    if (i) LC_NAME(block)(rows, wide, count, 0, ahead, out);
    for (; i <= bytes - VEC_BYTES; i += VEC_BYTES) LC_NAME(block)(rows, wide, count, i, ahead, out);
    if (i < bytes) LC_NAME(block)(rows, wide, count, bytes - VEC_BYTES, ahead, out); /* overlaps the last: same values */
}

static void LC_NAME(vertical)(const uint8_t *const *rows, const uint16_t *weights, int count, int bytes,
                              const uint8_t *ahead, uint16_t *out) {
    if (bytes < VEC_BYTES) {
        for (int i = 0; i < bytes; i++) out[i] = LC_NAME(sample)(rows, weights, count, i);
        return;
    }
    switch (count) { /* constant counts keep weights and row pointers in registers */
        case 1: LC_NAME(blocks)(rows, weights, 1, bytes, ahead, out); break;
        case 2: LC_NAME(blocks)(rows, weights, 2, bytes, ahead, out); break;
        case 3: LC_NAME(blocks)(rows, weights, 3, bytes, ahead, out); break;
        case 4: LC_NAME(blocks)(rows, weights, 4, bytes, ahead, out); break;
        case 5: LC_NAME(blocks)(rows, weights, 5, bytes, ahead, out); break;
        case 6: LC_NAME(blocks)(rows, weights, 6, bytes, ahead, out); break;
        default: LC_NAME(blocks)(rows, weights, count, bytes, ahead, out);
    }
}

/* Whole-number weights: two rows, byte by byte in turn, times a pair of weights is one instruction, and exact. */
static inline __attribute__((always_inline)) void LC_NAME(exact_block)(const uint8_t *const *rows,
                                                                       const LC_NAME(vec) *pairs, int one, int count,
                                                                       int i, const uint8_t *ahead,
                                                                       uint16_t *out) {
    LC_NAME(vec) lo = V(set1_epi16)((short)(-128 * one)), hi = lo;
    LC_FETCH(ahead + i);
    for (int k = 0; k < count; k += 2) {
        LC_NAME(vec) a = V_LOAD(rows[k] + i), b = k + 1 < count ? V_LOAD(rows[k + 1] + i) : V_ZERO;
        lo = V(add_epi16)(lo, V(maddubs_epi16)(V(unpacklo_epi8)(a, b), pairs[k / 2]));
        hi = V(add_epi16)(hi, V(maddubs_epi16)(V(unpackhi_epi8)(a, b), pairs[k / 2]));
    }
    V_STORE(out + i, lo, hi);
}

static inline __attribute__((always_inline)) void LC_NAME(exact_blocks)(const uint8_t *const *rows,
                                                                        const uint8_t *weights, int one, int count,
                                                                        int bytes, const uint8_t *ahead,
                                                                        uint16_t *out) {
    LC_NAME(vec) pairs[LC_FEW_TAPS / 2];
    for (int k = 0; k < count; k += 2) pairs[k / 2] = V(set1_epi16)((short)(weights[k] | weights[k + 1] << 8));
    int i = LC_NAME(aligned)(rows[0]);
    if (i) LC_NAME(exact_block)(rows, pairs, one, count, 0, ahead, out);
    for (; i <= bytes - VEC_BYTES; i += VEC_BYTES) LC_NAME(exact_block)(rows, pairs, one, count, i, ahead, out);
    if (i < bytes) LC_NAME(exact_block)(rows, pairs, one, count, bytes - VEC_BYTES, ahead, out);
}

static void LC_NAME(vertical_exact)(const uint8_t *const *rows, const uint8_t *weights, int one, int count, int bytes,
                                    const uint8_t *ahead, uint16_t *out) {
    if (bytes < VEC_BYTES) {
        LC_NAME(exact_samples)(rows, weights, one, count, bytes, out);
        return;
    }
    switch (count) {
        case 1: LC_NAME(exact_blocks)(rows, weights, one, 1, bytes, ahead, out); break;
        case 2: LC_NAME(exact_blocks)(rows, weights, one, 2, bytes, ahead, out); break;
        case 3: LC_NAME(exact_blocks)(rows, weights, one, 3, bytes, ahead, out); break;
        case 4: LC_NAME(exact_blocks)(rows, weights, one, 4, bytes, ahead, out); break;
        case 5: LC_NAME(exact_blocks)(rows, weights, one, 5, bytes, ahead, out); break;
        case 6: LC_NAME(exact_blocks)(rows, weights, one, 6, bytes, ahead, out); break;
        default: LC_NAME(exact_blocks)(rows, weights, one, count, bytes, ahead, out);
    }
}
#undef VEC_BYTES
#undef V
#undef V_LOAD
#undef V_ZERO
#undef V_STORE
#else
static void LC_NAME(vertical_exact)(const uint8_t *const *rows, const uint8_t *weights, int one, int count, int bytes,
                                    const uint8_t *ahead, uint16_t *out) {
    (void)ahead;
    LC_NAME(exact_samples)(rows, weights, one, count, bytes, out);
}

static void LC_NAME(vertical)(const uint8_t *const *rows, const uint16_t *weights, int count, int bytes,
                              const uint8_t *ahead, uint16_t *restrict out) {
    (void)ahead;
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
#undef LC_BIAS
