// What livecut.cu needs of CUDA, as C++ for the host: one thread at a time, and fibres where a block meets at a barrier.
//
// A block's threads run in order, or in reverse: whoever reads what another thread has yet to write then gets another
// answer, and a test that runs both orders sees it.
#ifndef LIVECUT_EMULATE_H
#define LIVECUT_EMULATE_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define LC_DYNAMIC_SHARED(type, name) type *name = (type *)emulate::shared_memory

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

static uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulate {

enum { STACK_BYTES = 128 * 1024, SHARED_BYTES = 48 * 1024 };

struct fibre {
    ucontext_t context;
    uint3 thread;
    bool done;
};

static std::vector<fibre> fibres;
static std::vector<char> stacks;
static ucontext_t home;
static size_t current;
static void (*body)(const void *);
static const void *arguments;
static bool barriers_used;
alignas(16) static char shared_memory[SHARED_BYTES];

static void enter() {
    body(arguments);
    fibres[current].done = true;
    swapcontext(&fibres[current].context, &home);
}

static void resume(size_t index) {
    current = index;
    threadIdx = fibres[index].thread;
    swapcontext(&home, &fibres[index].context);
}

// Every thread up to its next barrier, and again until all are done.
static void run_block_of_fibres(bool reverse) {
    const size_t n = fibres.size();
    stacks.resize(n * STACK_BYTES);
    for (size_t i = 0; i < n; i++) {
        fibre &f = fibres[i];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks.data() + i * STACK_BYTES;
        f.context.uc_stack.ss_size = STACK_BYTES;
        f.context.uc_link = nullptr;
        f.done = false;
        makecontext(&f.context, enter, 0);
    }
    for (size_t left = n; left;) {
        left = 0;
        for (size_t k = 0; k < n; k++) {
            const size_t i = reverse ? n - 1 - k : k;
            if (!fibres[i].done) resume(i);
            left += !fibres[i].done;
        }
    }
}

static void run_block(bool reverse) {
    fibres.clear();
    for (unsigned z = 0; z < blockDim.z; z++)
        for (unsigned y = 0; y < blockDim.y; y++)
            for (unsigned x = 0; x < blockDim.x; x++) {
                fibre f = {};
                f.thread = uint3{x, y, z};
                fibres.push_back(f);
            }
    if (barriers_used) {
        run_block_of_fibres(reverse);
        return;
    }
    for (size_t k = 0; k < fibres.size(); k++) {
        threadIdx = fibres[reverse ? fibres.size() - 1 - k : k].thread;
        body(arguments);
    }
}

// Shared memory starts as rubbish, as on a GPU.
static void launch(void (*kernel)(const void *), bool barriers, const unsigned *grid, const unsigned *block,
                   const void *args, bool reverse) {
    body = kernel, arguments = args, barriers_used = barriers;
    gridDim = uint3{grid[0], grid[1], grid[2]}, blockDim = uint3{block[0], block[1], block[2]};
    const size_t blocks = (size_t)grid[0] * grid[1] * grid[2];
    for (size_t k = 0; k < blocks; k++) {
        const size_t i = reverse ? blocks - 1 - k : k;
        blockIdx = uint3{(unsigned)(i % grid[0]), (unsigned)(i / grid[0] % grid[1]), (unsigned)(i / grid[0] / grid[1])};
        memset(shared_memory, 0xa5, SHARED_BYTES);
        run_block(reverse);
    }
}

}  // namespace emulate

static inline void __syncthreads() { swapcontext(&emulate::fibres[emulate::current].context, &emulate::home); }

static inline unsigned atomicOr(unsigned *at, unsigned bits) {
    const unsigned before = *at;
    *at |= bits;
    return before;
}

// Round to nearest, ties to even, as cvt.rn.f16.f32.
static inline unsigned short lc_to_half(float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    const uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (unsigned short)(sign | 0x7e00);
    if (rest >= 0x477ff000) return (unsigned short)(sign | 0x7c00);
    if (rest < 0x38800000) {  // below 2^-14: units of 2^-24
        return (unsigned short)(sign | (uint32_t)nearbyintf(fabsf(v) * 16777216.0f));
    }
    const uint32_t half = rest - 0x38000000;
    return (unsigned short)(sign | ((half + 0xfff + (half >> 13 & 1)) >> 13));
}

static inline float lc_from_half(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                                      : ldexpf((float)fraction, -24);
    return bits & 0x8000 ? -size : size;
}

#endif
