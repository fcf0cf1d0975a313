#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_WORKERS = 63 };

/* One parallel loop: its caller and the workers that joined take chunks until none is left. It lives on the caller's
 * stack, so the caller leaves only when every worker that joined has left. */
struct loop {
    lc_task task;
    void *context;
    int items, chunk, wanted; /* wanted: workers that may still join; guarded by the lock */
    int joined;               /* workers inside; guarded by the lock */
    atomic_int next;
    struct loop *following;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static struct loop *loops;
static int workers;

static void take_chunks(struct loop *loop) {
    int begin;
    while ((begin = atomic_fetch_add(&loop->next, loop->chunk)) < loop->items) {
        int end = begin + loop->chunk;
        loop->task(loop->context, begin, end < loop->items ? end : loop->items);
    }
}

static void *worker(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct loop *loop = loops;
        while (loop && loop->wanted == 0) loop = loop->following;
        if (!loop) {
            pthread_cond_wait(&work, &lock);
            continue;
        }
        loop->wanted--;
        loop->joined++;
        pthread_mutex_unlock(&lock);
        take_chunks(loop);
        pthread_mutex_lock(&lock);
        if (--loop->joined == 0) pthread_cond_broadcast(&left);
    }
    return 0;
}

static void after_fork_in_child(void) {
    /* Only the forking thread exists here: forget the parent's workers and loops. */
    pthread_mutex_init(&lock, 0);
    pthread_cond_init(&work, 0);
    pthread_cond_init(&left, 0);
    loops = 0;
    workers = 0;
}

static void register_fork_handler(void) { pthread_atfork(0, 0, after_fork_in_child); }

void lc_parallel_for(lc_task task, void *context, int items, int threads) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (items <= 0) return;
    if (threads > items) threads = items;
    if (threads <= 1) {
        task(context, 0, items);
        return;
    }
    if (threads > MAX_WORKERS + 1) threads = MAX_WORKERS + 1;
    pthread_once(&once, register_fork_handler);
    struct loop loop = {.task = task, .context = context, .items = items, .wanted = threads - 1};
    /* Four chunks a thread even out rows of unequal cost without many atomics. */
    loop.chunk = (items + 4 * threads - 1) / (4 * threads);
    pthread_mutex_lock(&lock);
    while (workers < threads - 1) {
        pthread_t thread;
        if (pthread_create(&thread, 0, worker, 0)) break; /* fewer threads: the caller does the rest */
        pthread_detach(thread);
        workers++;
    }
    loop.following = loops;
    loops = &loop;
    pthread_cond_broadcast(&work);
    pthread_mutex_unlock(&lock);
    take_chunks(&loop);
    pthread_mutex_lock(&lock);
    struct loop **link = &loops;
    while (*link != &loop) link = &(*link)->following;
    *link = loop.following;
    while (loop.joined) pthread_cond_wait(&left, &lock);
    pthread_mutex_unlock(&lock);
}
