/* Enlarging rows of a grid, only where somebody reads them. Included once per instruction set. */

/* Columns [x0, x1) of dst: between src[index] and src[index + 1] by weight. x0 is a multiple of LC_BLOCK; dst has room
 * for whole blocks. */
static void LC_NAME(enlarge)(const lc_columns *columns, const int16_t *restrict src, int16_t *restrict dst, int x0,
                             int x1) {
    const int32_t *restrict index = columns->index;
    const int16_t *restrict weight = columns->weight;
    int x = x0;
#if LC_X86 && defined(__AVX512BW__)
    const __m512i one = _mm512_set1_epi16(1);
    for (; columns->narrow && x < x1; x += 32) {
        const __m512i window = _mm512_loadu_si512(src + index[x]), near = _mm512_loadu_si512(columns->near + x);
        const __m512i left = _mm512_permutexvar_epi16(near, window);
        const __m512i right = _mm512_permutexvar_epi16(_mm512_add_epi16(near, one), window);
        const __m512i part = _mm512_mulhrs_epi16(_mm512_sub_epi16(right, left), _mm512_loadu_si512(weight + x));
        _mm512_storeu_si512(dst + x, _mm512_add_epi16(left, part));
    }
#elif LC_X86 && defined(__AVX2__)
    const __m256i both = _mm256_set1_epi16(0x0202), low = _mm256_set1_epi16(0x0100);
    for (; columns->narrow && x < x1; x += 16) {
        const __m128i *at0 = (const __m128i *)(src + index[x]), *at1 = (const __m128i *)(src + index[x + 8]);
        const __m256i window = _mm256_loadu2_m128i(at1, at0);
        const __m256i near = _mm256_loadu_si256((const __m256i *)(columns->near8 + x));
        const __m256i pick = _mm256_add_epi16(_mm256_mullo_epi16(near, both), low);
        const __m256i left = _mm256_shuffle_epi8(window, pick);
        const __m256i right = _mm256_shuffle_epi8(window, _mm256_add_epi16(pick, both));
        const __m256i by = _mm256_loadu_si256((const __m256i *)(weight + x));
        const __m256i part = _mm256_mulhrs_epi16(_mm256_sub_epi16(right, left), by);
        _mm256_storeu_si256((__m256i *)(dst + x), _mm256_add_epi16(left, part));
    }
#endif
    for (; x < x1; x++) {
        const int16_t left = src[index[x]], right = src[index[x] + 1];
        dst[x] = (int16_t)(left + LC_NAME(mul15)((int16_t)(right - left), weight[x]));
    }
}

/* Move to rows `at` and `at + 1` (the last row again at the end). True when the rows changed. */
static int LC_NAME(seek)(lc_ring *ring, int at) {
    if (at == ring->at) return 0;
    for (int c = 0; c < ring->count; c++) {
        int16_t *top = ring->row[0][c];
        ring->row[0][c] = ring->row[1][c];
        ring->row[1][c] = top;
    }
    uint8_t *ready = ring->ready[0];
    ring->ready[0] = ring->ready[1];
    ring->ready[1] = ready;
    if (ring->at < 0 || at != ring->at + 1) memset(ring->ready[0], 0, ring->blocks);
    memset(ring->ready[1], 0, ring->blocks);
    ring->at = at;
    return 1;
}

/* Enlarge what columns [x0, x0 + n) of both rows still lack; x0 is a multiple of LC_BLOCK. */
static void LC_NAME(ensure)(lc_ring *ring, int x0, int n) {
    const int first = x0 / LC_BLOCK, last = (x0 + n + LC_BLOCK - 1) / LC_BLOCK;
    for (int side = 0; side < 2; side++) {
        uint8_t *ready = ring->ready[side];
        const int at = ring->at + side < ring->rows ? ring->at + side : ring->rows - 1;
        for (int block = first; block < last; block++) {
            if (ready[block]) continue;
            const int from = block;
            while (block < last && !ready[block]) ready[block++] = 1;
            for (int c = 0; c < ring->count; c++)
                LC_NAME(enlarge)(ring->columns, ring->planes + c * ring->plane_stride + at * ring->row_stride,
                                 ring->row[side][c], from * LC_BLOCK, block * LC_BLOCK);
        }
    }
}

/* One bit a cell: at most `none`, and at least `all`. `cells` is a multiple of 32. */
static void LC_NAME(cell_bits)(const int16_t *low, const int16_t *high, int cells, int16_t none, int16_t all,
                               uint32_t *is_none, uint32_t *is_all) {
    for (int x = 0; x < cells; x += 32) {
#if LC_X86 && defined(__AVX512BW__)
        is_none[x / 32] = _mm512_cmple_epi16_mask(_mm512_loadu_si512(high + x), _mm512_set1_epi16(none));
        is_all[x / 32] = _mm512_cmpge_epi16_mask(_mm512_loadu_si512(low + x), _mm512_set1_epi16(all));
#elif LC_X86 && defined(__AVX2__)
        const __m256i more = _mm256_set1_epi16(none), less = _mm256_set1_epi16(all);
        const __m256i *h = (const __m256i *)(high + x), *l = (const __m256i *)(low + x);
        const __m256i some = _mm256_packs_epi16(_mm256_cmpgt_epi16(_mm256_loadu_si256(h), more),
                                                _mm256_cmpgt_epi16(_mm256_loadu_si256(h + 1), more));
        const __m256i part = _mm256_packs_epi16(_mm256_cmpgt_epi16(less, _mm256_loadu_si256(l)),
                                                _mm256_cmpgt_epi16(less, _mm256_loadu_si256(l + 1)));
        is_none[x / 32] = ~(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(some, 0xd8));
        is_all[x / 32] = ~(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(part, 0xd8));
#else
        uint32_t n = 0, a = 0;
        for (int i = 0; i < 32; i++) {
            n |= (uint32_t)(high[x + i] <= none) << i;
            a |= (uint32_t)(low[x + i] >= all) << i;
        }
        is_none[x / 32] = n;
        is_all[x / 32] = a;
#endif
    }
}
