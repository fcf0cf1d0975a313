/* Blending of packed three-channel pixels by alpha15, without taking the channels apart. Included once per
 * instruction set. */

#if LC_X86 && defined(__AVX512VBMI__)

/* 64 bytes: widened in the low and high halves of their lanes, which packing undoes. */
static inline __m512i LC_NAME(blend64)(__m512i front, __m512i back, __m512i low, __m512i high) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i f0 = _mm512_unpacklo_epi8(front, zero), f1 = _mm512_unpackhi_epi8(front, zero);
    const __m512i b0 = _mm512_unpacklo_epi8(back, zero), b1 = _mm512_unpackhi_epi8(back, zero);
    return _mm512_packus_epi16(_mm512_add_epi16(b0, _mm512_mulhrs_epi16(_mm512_sub_epi16(f0, b0), low)),
                               _mm512_add_epi16(b1, _mm512_mulhrs_epi16(_mm512_sub_epi16(f1, b1), high)));
}

static inline int LC_NAME(blend3_wide)(const uint8_t *front, const uint8_t *back, const int16_t *alpha, uint8_t *out,
                                       int n, ptrdiff_t front_ahead, ptrdiff_t back_ahead) {
    __m512i spread[3][2];
    for (int k = 0; k < 3; k++)
        for (int half = 0; half < 2; half++)
            spread[k][half] = _mm512_loadu_si512(lc_shuffle_tables.spread3[k][half]);
    for (int x = 0; x < n; x += 64, alpha += 64, front += 192, back += 192, out += 192) {
        const int left = 3 * (n - x);
        for (int k = 0; k < 3; k++) {
            const __mmask64 mask = LC_NAME(before)(64 * k, left);
            LC_NAME(fetch)(front + 64 * k, 1, front_ahead);
            LC_NAME(fetch)(back + 64 * k, 1, back_ahead);
            const __m512i a = _mm512_loadu_si512(alpha + 64 * k / 3);
            const __m512i f = _mm512_maskz_loadu_epi8(mask, front + 64 * k);
            const __m512i b = _mm512_maskz_loadu_epi8(mask, back + 64 * k);
            const __m512i v = LC_NAME(blend64)(f, b, _mm512_permutexvar_epi16(spread[k][0], a),
                                               _mm512_permutexvar_epi16(spread[k][1], a));
            _mm512_mask_storeu_epi8(out + 64 * k, mask, v);
        }
    }
    return n;
}

#elif LC_X86 && defined(__AVX2__)

static inline int LC_NAME(blend3_wide)(const uint8_t *front, const uint8_t *back, const int16_t *alpha, uint8_t *out,
                                       int n, ptrdiff_t front_ahead, ptrdiff_t back_ahead) {
    const __m256i zero = _mm256_setzero_si256();
    int x = 0;
    for (; x + 32 <= n; x += 32, alpha += 32, front += 96, back += 96, out += 96) {
        LC_NAME(fetch)(front, 96, front_ahead);
        LC_NAME(fetch)(back, 96, back_ahead);
        for (int k = 0; k < 3; k++) { /* 32 bytes: the groups of 16 bytes 2 k and 2 k + 1 */
            const int g0 = 2 * k, g1 = 2 * k + 1;
            const __m256i a = _mm256_loadu2_m128i((const __m128i *)(alpha + 16 * g1 / 3),
                                                  (const __m128i *)(alpha + 16 * g0 / 3));
            const uint8_t(*p0)[16] = lc_shuffle_tables.spread16[g0 % 3], (*p1)[16] = lc_shuffle_tables.spread16[g1 % 3];
            const __m256i pick0 = _mm256_loadu2_m128i((const __m128i *)p1[0], (const __m128i *)p0[0]);
            const __m256i pick1 = _mm256_loadu2_m128i((const __m128i *)p1[1], (const __m128i *)p0[1]);
            const __m256i low = _mm256_shuffle_epi8(a, pick0), high = _mm256_shuffle_epi8(a, pick1);
            const __m256i f = _mm256_loadu_si256((const __m256i *)(front + 32 * k));
            const __m256i b = _mm256_loadu_si256((const __m256i *)(back + 32 * k));
            const __m256i f0 = _mm256_unpacklo_epi8(f, zero), f1 = _mm256_unpackhi_epi8(f, zero);
            const __m256i b0 = _mm256_unpacklo_epi8(b, zero), b1 = _mm256_unpackhi_epi8(b, zero);
            const __m256i v0 = _mm256_add_epi16(b0, _mm256_mulhrs_epi16(_mm256_sub_epi16(f0, b0), low));
            const __m256i v1 = _mm256_add_epi16(b1, _mm256_mulhrs_epi16(_mm256_sub_epi16(f1, b1), high));
            _mm256_storeu_si256((__m256i *)(out + 32 * k), _mm256_packus_epi16(v0, v1));
        }
    }
    return x;
}

#endif

/* out = back + alpha (front - back); out may be front or back. The row of alpha has room for 64 more. `ahead`: to the
 * row that comes next. */
static void LC_NAME(blend3)(const uint8_t *front, const uint8_t *back, const int16_t *alpha, uint8_t *out, int n,
                            ptrdiff_t front_ahead, ptrdiff_t back_ahead) {
    int x = 0;
#if LC_X86 && defined(__AVX2__)
    x = LC_NAME(blend3_wide)(front, back, alpha, out, n, front_ahead, back_ahead);
#else
    LC_NAME(fetch)(front, (size_t)n * 3, front_ahead);
    LC_NAME(fetch)(back, (size_t)n * 3, back_ahead);
#endif
    for (; x < n; x++)
        for (int c = 0; c < 3; c++) {
            const int i = 3 * x + c;
            out[i] = (uint8_t)(back[i] + LC_NAME(mul15)((int16_t)(front[i] - back[i]), alpha[x]));
        }
}
