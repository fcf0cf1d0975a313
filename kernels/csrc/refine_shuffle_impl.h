/* Interleaved bytes to rows of single channels and back, in registers. Included once per instruction set; the plain
 * loops serve what is left of a row, and chips without these instructions.
 * Each function returns how many pixels it has done. Rows of single channels have room for 64 more. */

#if LC_X86 && defined(__AVX512VBMI__)

/* Mask of the bytes of the vector at `at` that lie before `end`. */
static inline __mmask64 LC_NAME(before)(int at, int end) {
    return at >= end ? 0 : end - at >= 64 ? ~0ull : (1ull << (end - at)) - 1;
}

#define LC_LOAD(i) _mm512_maskz_loadu_epi8(LC_NAME(before)(64 * (i), left), src + 64 * (i))
#define LC_STORE(i, v) _mm512_mask_storeu_epi8(dst + 64 * (i), LC_NAME(before)(64 * (i), left), v)

static inline int LC_NAME(split3_wide)(const uint8_t *src, uint8_t *a, uint8_t *b, uint8_t *c, int n) {
    const lc_shuffles *t = &lc_shuffle_tables;
    __m512i pick[3], rest[3];
    for (int i = 0; i < 3; i++) {
        pick[i] = _mm512_loadu_si512(t->split3[i]);
        rest[i] = _mm512_loadu_si512(t->split3_rest[i]);
    }
    int x = 0;
    for (; x < n; x += 64, src += 192) {
        const int left = 3 * (n - x);
        const __m512i v0 = LC_LOAD(0), v1 = LC_LOAD(1);
        const __m512i v2 = LC_LOAD(2);
        uint8_t *to[3] = {a + x, b + x, c + x};
        for (int i = 0; i < 3; i++) {
            const __m512i low = _mm512_permutex2var_epi8(v0, pick[i], v1);
            _mm512_storeu_si512(to[i], _mm512_mask_permutexvar_epi8(low, t->split3_mask[i], rest[i], v2));
        }
    }
    return n;
}

static inline int LC_NAME(join3_wide)(const uint8_t *a, const uint8_t *b, const uint8_t *c, uint8_t *dst, int n) {
    const lc_shuffles *t = &lc_shuffle_tables;
    __m512i pick[3], third[3];
    for (int i = 0; i < 3; i++) {
        pick[i] = _mm512_loadu_si512(t->join3[i]);
        third[i] = _mm512_loadu_si512(t->join3_third[i]);
    }
    int x = 0;
    for (; x < n; x += 64, dst += 192) {
        const int left = 3 * (n - x);
        const __m512i va = _mm512_loadu_si512(a + x), vb = _mm512_loadu_si512(b + x), vc = _mm512_loadu_si512(c + x);
        for (int i = 0; i < 3; i++) {
            const __m512i two = _mm512_permutex2var_epi8(va, pick[i], vb);
            LC_STORE(i, _mm512_mask_permutexvar_epi8(two, t->join3_mask[i], third[i], vc));
        }
    }
    return n;
}

static inline int LC_NAME(split4_wide)(const uint8_t *src, uint8_t *a, uint8_t *b, uint8_t *c, int n) {
    __m512i pick[3];
    for (int i = 0; i < 3; i++) pick[i] = _mm512_loadu_si512(lc_shuffle_tables.split4[i]);
    int x = 0;
    for (; x < n; x += 64, src += 256) {
        const int left = 4 * (n - x);
        const __m512i v0 = LC_LOAD(0), v1 = LC_LOAD(1);
        const __m512i v2 = LC_LOAD(2), v3 = LC_LOAD(3);
        uint8_t *to[3] = {a + x, b + x, c + x};
        for (int i = 0; i < 3; i++) {
            const __m512i low = _mm512_permutex2var_epi8(v0, pick[i], v1);
            const __m512i high = _mm512_permutex2var_epi8(v2, pick[i], v3);
            _mm512_storeu_si512(to[i], _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1));
        }
    }
    return n;
}

static inline int LC_NAME(join4_wide)(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                                      uint8_t *dst, int n) {
    const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int x = 0;
    for (; x < n; x += 64, dst += 256) {
        const int left = 4 * (n - x);
        const __m512i va = _mm512_permutexvar_epi32(turn, _mm512_loadu_si512(a + x));
        const __m512i vb = _mm512_permutexvar_epi32(turn, _mm512_loadu_si512(b + x));
        const __m512i vc = _mm512_permutexvar_epi32(turn, _mm512_loadu_si512(c + x));
        const __m512i vd = _mm512_permutexvar_epi32(turn, _mm512_loadu_si512(d + x));
        const __m512i ab0 = _mm512_unpacklo_epi8(va, vb), ab1 = _mm512_unpackhi_epi8(va, vb);
        const __m512i cd0 = _mm512_unpacklo_epi8(vc, vd), cd1 = _mm512_unpackhi_epi8(vc, vd);
        LC_STORE(0, _mm512_unpacklo_epi16(ab0, cd0));
        LC_STORE(1, _mm512_unpackhi_epi16(ab0, cd0));
        LC_STORE(2, _mm512_unpacklo_epi16(ab1, cd1));
        LC_STORE(3, _mm512_unpackhi_epi16(ab1, cd1));
    }
    return n;
}

#elif LC_X86 && defined(__AVX2__)

/* Sixteen pixels are three vectors; each channel gathers its bytes from all three. */
static inline int LC_NAME(split3_wide)(const uint8_t *src, uint8_t *a, uint8_t *b, uint8_t *c, int n) {
    int x = 0;
    for (; x + 16 <= n; x += 16, src += 48) {
        uint8_t *to[3] = {a + x, b + x, c + x};
        for (int i = 0; i < 3; i++) {
            __m128i v = _mm_setzero_si128();
            for (int part = 0; part < 3; part++) {
                const __m128i pick = _mm_loadu_si128((const __m128i *)lc_shuffle_tables.split16[i][part]);
                const __m128i bytes = _mm_loadu_si128((const __m128i *)(src + 16 * part));
                v = _mm_or_si128(v, _mm_shuffle_epi8(bytes, pick));
            }
            _mm_storeu_si128((__m128i *)to[i], v);
        }
    }
    return x;
}

static inline int LC_NAME(join3_wide)(const uint8_t *a, const uint8_t *b, const uint8_t *c, uint8_t *dst, int n) {
    int x = 0;
    for (; x + 16 <= n; x += 16, dst += 48) {
        const __m128i from[3] = {_mm_loadu_si128((const __m128i *)(a + x)), _mm_loadu_si128((const __m128i *)(b + x)),
                                 _mm_loadu_si128((const __m128i *)(c + x))};
        for (int part = 0; part < 3; part++) {
            __m128i v = _mm_setzero_si128();
            for (int i = 0; i < 3; i++) {
                const __m128i pick = _mm_loadu_si128((const __m128i *)lc_shuffle_tables.join16[part][i]);
                v = _mm_or_si128(v, _mm_shuffle_epi8(from[i], pick));
            }
            _mm_storeu_si128((__m128i *)(dst + 16 * part), v);
        }
    }
    return x;
}

#endif
