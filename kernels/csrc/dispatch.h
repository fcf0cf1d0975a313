/* Run-time choice of instruction set.
 *
 * A kernel's loops live in NAME_impl.h, written once; where intrinsics pay they stand under the feature macros
 * __AVX2__ / __AVX512BW__ / __ARM_NEON. NAME.c includes that header once per instruction set:
 *
 *     #define LC_SUFFIX plain
 *     #include "name_impl.h"
 *     #undef LC_SUFFIX
 *     #if LC_X86
 *     #pragma GCC push_options
 *     #pragma GCC target("avx2,fma,f16c,bmi2")
 *     #define LC_SUFFIX avx2
 *     #include "name_impl.h"
 *     #undef LC_SUFFIX
 *     #pragma GCC pop_options
 *     ... the same with LC_TARGET_AVX512
 *     #endif
 *
 * Functions in the header are named LC_NAME(kernel), and a table picks one by lc_simd_level(). On Arm the compiler's
 * own NEON is the plain build.
 */
#ifndef LIVECUT_DISPATCH_H
#define LIVECUT_DISPATCH_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LC_CONCAT_(a, b) a##_##b
#define LC_CONCAT(a, b) LC_CONCAT_(a, b)
#define LC_NAME(name) LC_CONCAT(name, LC_SUFFIX)

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__) && !defined(__clang__)
#define LC_X86 1
#include <immintrin.h>
#else
#define LC_X86 0
#endif

enum { LC_PLAIN = 0, LC_AVX2 = 1, LC_AVX512 = 2 };

/* The best level of this chip, or the lower one that LIVECUT_SIMD names. Read once per process by each extension. */
static inline int lc_simd_level(void) {
    static int level = -1;
    if (level >= 0) return level;
    int best = LC_PLAIN;
#if LC_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = LC_AVX2;
    if (best == LC_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vbmi"))
        best = LC_AVX512;
#endif
    const char *asked = getenv("LIVECUT_SIMD");
    if (asked && !strcmp(asked, "plain")) best = LC_PLAIN;
    if (asked && !strcmp(asked, "avx2") && best > LC_AVX2) best = LC_AVX2;
    level = best;
    return level;
}

#endif
