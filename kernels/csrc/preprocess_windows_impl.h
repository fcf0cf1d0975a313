/* Windows: the horizontal pass where one instruction picks any 32 of 64 samples, and what follows it. */

/* One table stays in registers while all groups that share it are done. */
static inline __attribute__((always_inline)) void LC_NAME(windowed)(const uint16_t *row, int pairs, int sums,
                                                                    const struct lc_windows *windows,
                                                                    const uint8_t *ahead, int32_t *out) {
    __mmask16 used = (__mmask16)((1u << windows->pixels * sums) - 1);
    for (int t = 0; t < windows->tables; t++) {
        __m512i pick[LC_FEW_TAPS / 2], weights[LC_FEW_TAPS / 2];
        for (int p = 0; p < pairs; p++) {
            pick[p] = _mm512_loadu_si512(windows->pick + (t * pairs + p) * 32);
            weights[p] = _mm512_loadu_si512(windows->weights + (t * pairs + p) * 32);
        }
        for (int g = windows->first[t]; g < windows->first[t + 1]; g++) {
            const uint16_t *from = row + windows->start[g];
            LC_FETCH(ahead + 128 * g);
            LC_FETCH(ahead + 128 * g + 64);
            __m512i left = _mm512_loadu_si512(from), right = _mm512_loadu_si512(from + 32);
            __m512i sum = _mm512_setzero_si512();
            for (int p = 0; p < pairs; p++)
                sum = _mm512_add_epi32(sum,
                                       _mm512_madd_epi16(_mm512_permutex2var_epi16(left, pick[p], right), weights[p]));
            _mm512_mask_storeu_epi32(out + sums * windows->to[g], used, sum);
        }
    }
}

static void LC_NAME(windowed_sums)(const uint16_t *row, const struct lc_columns *columns, const uint8_t *ahead,
                                   int32_t *sums) {
    switch (columns->windows.pairs) { /* constant counts keep the tables in registers */
        case 1: LC_NAME(windowed)(row, 1, 3, &columns->windows, ahead, sums); break;
        case 2: LC_NAME(windowed)(row, 2, 3, &columns->windows, ahead, sums); break;
        case 3: LC_NAME(windowed)(row, 3, 3, &columns->windows, ahead, sums); break;
        default: LC_NAME(windowed)(row, columns->windows.pairs, 3, &columns->windows, ahead, sums);
    }
}

/* Three vectors of interleaved sums to one of plane k, which are the elements 3 i + k. Those from 32 on lie in c. */
static inline __attribute__((always_inline)) __m512 LC_NAME(third)(__m512i a, __m512i b, __m512i c, int k,
                                                                       float unit) {
    __m512i at = _mm512_add_epi32(_mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45),
                                  _mm512_set1_epi32(k));
    __m512i low = _mm512_permutex2var_epi32(a, at, b);
    __m512i all = _mm512_mask_permutexvar_epi32(low, (__mmask16)(0xffff << (34 - k) / 3), at, c);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(all), _mm512_set1_ps(unit));
}

static void LC_NAME(sums_to_planes)(const int32_t *sums, int count, float unit, float *const *out) {
    for (int x = 0; x < count; x += 16) {
        __m512i a = _mm512_loadu_si512(sums + 3 * x), b = _mm512_loadu_si512(sums + 3 * x + 16);
        __m512i c = _mm512_loadu_si512(sums + 3 * x + 32);
        for (int k = 0; k < 3; k++) _mm512_storeu_ps(out[k] + x, LC_NAME(third)(a, b, c, k, unit));
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
        LC_FETCH(to->ahead + 8 * x);
        LC_FETCH(to->ahead + 8 * x + 64);
        for (int k = 0; k < 3; k++) {
            level[k] = LC_NAME(third)(a, b, c, k, to->unit);
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
