/* One growing work buffer per thread: a kernel allocates only the first time a thread meets a larger picture. */
#ifndef LIVECUT_SCRATCH_H
#define LIVECUT_SCRATCH_H

#include <pthread.h>
#include <stdlib.h>

struct lc_scratch {
    size_t bytes;
    void *memory;
};

static pthread_key_t lc_scratch_key;
static pthread_once_t lc_scratch_once = PTHREAD_ONCE_INIT;

static void lc_scratch_free(void *held) {
    free(((struct lc_scratch *)held)->memory);
    free(held);
}

static void lc_scratch_make_key(void) { pthread_key_create(&lc_scratch_key, lc_scratch_free); }

/* At least `bytes` of memory on a 64-byte boundary, valid until this thread asks again; NULL when there is none. */
static void *lc_scratch_get(size_t bytes) {
    pthread_once(&lc_scratch_once, lc_scratch_make_key);
    struct lc_scratch *held = pthread_getspecific(lc_scratch_key);
    if (!held) {
        held = calloc(1, sizeof *held);
        if (!held) return 0;
        if (pthread_setspecific(lc_scratch_key, held)) {
            free(held);
            return 0;
        }
    }
    if (held->bytes < bytes) {
        free(held->memory);
        held->bytes = 0;
        held->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (!held->memory) return 0;
        held->bytes = bytes;
    }
    return held->memory;
}

#endif
