/* Reading ahead and writing past the caches. Included once per instruction set. */

/* Ask for the bytes `ahead` of these, mostly the same run of the next row. Runs are shorter than what the chip's own
 * prefetching needs to start, and a frame does not stay in the caches: without this the loops wait for memory. */
static inline void LC_NAME(fetch)(const uint8_t *src, size_t bytes, ptrdiff_t ahead) {
#if defined(__GNUC__)
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const void *)((uintptr_t)src + i + (uintptr_t)ahead));
#else
    (void)src, (void)bytes, (void)ahead;
#endif
}

/* Copy a run of a row. Long runs go straight to memory, without first fetching the lines to be overwritten, which is a
 * third of the traffic; the band ends with end_stream(). */
static void LC_NAME(copy_run)(uint8_t *dst, const uint8_t *src, size_t bytes, ptrdiff_t ahead) {
    if (dst == src) return;
#if LC_X86 && defined(__AVX2__)
    if (bytes >= 512) {
        size_t i = (64 - ((uintptr_t)dst & 63)) & 63;
        memcpy(dst, src, i);
        for (; i + 64 <= bytes; i += 64) {
            LC_NAME(fetch)(src + i, 1, ahead);
#if defined(__AVX512BW__)
            _mm512_stream_si512((void *)(dst + i), _mm512_loadu_si512(src + i));
#else
            const __m256i low = _mm256_loadu_si256((const __m256i *)(src + i));
            const __m256i high = _mm256_loadu_si256((const __m256i *)(src + i + 32));
            _mm256_stream_si256((__m256i *)(dst + i), low);
            _mm256_stream_si256((__m256i *)(dst + i + 32), high);
#endif
        }
        memcpy(dst + i, src + i, bytes - i);
        return;
    }
#endif
    LC_NAME(fetch)(src, bytes, ahead);
    memcpy(dst, src, bytes);
}

static inline void LC_NAME(end_stream)(void) {
#if LC_X86
    _mm_sfence();
#endif
}
