/* Denoise, temporal smoothing, bounds: the choice of instruction set, and the merging of bounds. */
#include "matte.h"

#include <pthread.h>

#include "dispatch.h"

#define LC_SUFFIX plain
#include "matte_impl.h"
#undef LC_SUFFIX
#if LC_X86
#pragma GCC push_options
#pragma GCC target("avx2,bmi2,popcnt")
#define LC_SUFFIX avx2
#include "matte_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")
#define LC_SUFFIX avx512
#include "matte_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
#define LC_BY_LEVEL(name) {name##_plain, name##_avx2, name##_avx512}
#else
#define LC_BY_LEVEL(name) {name##_plain}
#endif

typedef void (*rows_fn)(void *context, int begin, int end);

void lc_denoise_run(const struct lc_denoise *job, lc_parallel_for_fn parallel_for, int threads, int level) {
    static const rows_fn rows[] = LC_BY_LEVEL(denoise_rows);
    parallel_for(rows[level], (void *)job, job->height, threads);
}

void lc_temporal_run(const struct lc_temporal *job, lc_parallel_for_fn parallel_for, int threads, int level) {
    static const rows_fn change[] = LC_BY_LEVEL(change_rows);
    static const rows_fn smooth[] = LC_BY_LEVEL(smooth_rows);
    parallel_for(change[level], (void *)job, job->height, threads);
    if (!job->first) parallel_for(smooth[level], (void *)job, job->height, threads);
}

struct bounds_run {
    struct lc_bounds *job;
    int (*count_row)(const uint8_t *row, int width, uint8_t threshold);
    pthread_mutex_t lock; /* of the results in job */
};

static void bounds_rows(void *context, int begin, int end) {
    struct bounds_run *run = context;
    struct lc_bounds *job = run->job;
    const int width = job->width;
    const uint8_t threshold = (uint8_t)job->threshold;
    struct lc_bounds part = {.left = width, .top = job->height};
    for (int y = begin; y < end; y++) {
        const uint8_t *row = job->alpha + y * job->stride;
        int count = run->count_row(row, width, threshold);
        if (y == 0) part.on_top = count;
        if (y == job->height - 1) part.on_bottom = count;
        if (!count) continue;
        part.count += count;
        if (part.top > y) part.top = y;
        part.bottom = y + 1;
        part.on_left += row[0] >= threshold;
        part.on_right += row[width - 1] >= threshold;
        /* Only what lies outside the box found so far needs a look, and a close one only where there is something. */
        if (run->count_row(row, part.left, threshold))
            for (part.left = 0; row[part.left] < threshold;) part.left++;
        if (run->count_row(row + part.right, width - part.right, threshold))
            for (part.right = width; row[part.right - 1] < threshold;) part.right--;
    }
    pthread_mutex_lock(&run->lock);
    job->count += part.count;
    job->on_top += part.on_top;
    job->on_bottom += part.on_bottom;
    job->on_left += part.on_left;
    job->on_right += part.on_right;
    if (part.left < job->left) job->left = part.left;
    if (part.top < job->top) job->top = part.top;
    if (part.right > job->right) job->right = part.right;
    if (part.bottom > job->bottom) job->bottom = part.bottom;
    pthread_mutex_unlock(&run->lock);
}

void lc_bounds_run(struct lc_bounds *job, lc_parallel_for_fn parallel_for, int threads, int level) {
    static int (*const count_row[])(const uint8_t *, int, uint8_t) = LC_BY_LEVEL(count_row);
    struct bounds_run run = {.job = job, .count_row = count_row[level], .lock = PTHREAD_MUTEX_INITIALIZER};
    job->count = 0;
    job->left = job->width;
    job->top = job->height;
    job->right = job->bottom = 0;
    job->on_left = job->on_top = job->on_right = job->on_bottom = 0;
    parallel_for(bounds_rows, &run, job->height, threads);
}
