/* After the resize: colour, scale, dtype and layout. See preprocess.h. */

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
