/* A small pool of worker threads, shared by all kernels of the process. */
#ifndef LIVECUT_THREADS_H
#define LIVECUT_THREADS_H

/* Called with the half-open range of items [begin, end) that one thread is to do. */
typedef void (*lc_task)(void *context, int begin, int end);

/* Run task over [0, items) on up to `threads` threads, the caller being one of them; returns when all is done.
 * Never allocates after the pool has grown to the largest `threads` seen. Safe to call from several threads at once,
 * and after fork() (the child starts a pool of its own). */
void lc_parallel_for(lc_task task, void *context, int items, int threads);

#endif
