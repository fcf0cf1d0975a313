/* What this chip offers, for reports. */
#ifndef LIVECUT_CPU_H
#define LIVECUT_CPU_H

#include "dispatch.h"

/* The i-th feature of the chip that matters here, or NULL after the last. */
static const char *lc_cpu_feature(int i) {
#if LC_X86
    __builtin_cpu_init();
#define LC_HAS(name) if (__builtin_cpu_supports(name) && i-- == 0) return name
    LC_HAS("sse4.2");
    LC_HAS("avx2");
    LC_HAS("fma");
    LC_HAS("avx512f");
    LC_HAS("avx512bw");
    LC_HAS("avx512vbmi");
    LC_HAS("avx512vnni");
    LC_HAS("avx512bf16");
#undef LC_HAS
#elif defined __ARM_NEON
    if (i == 0) return "neon";
#endif
    (void)i;
    return 0;
}

#endif
