/* A CUDA driver that works in host memory, at once: as much of libcuda as livecut calls, through pycuda and by itself.
 *
 * It lets the real device code run where there is no GPU: signatures, argument bytes, contexts and captures are
 * checked, speed and concurrency are not. Every call but the first few fails without a current context, as CUDA's do.
 * Calls may come from many threads at once, as those of several sessions do: what is counted is counted atomically.
 * What was taken from a context that is gone is refused and counted, and so is host memory that went with it.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, INVALID_CONTEXT = 201, NO_BINARY = 209, NOT_FOUND = 500,
       CONTEXT_DESTROYED = 709, NOT_PERMITTED = 800, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, ILLEGAL_ADDRESS = 700 };
enum { MEMORY, HOST_MEMORY, STREAMS, EVENTS, GRAPHS, MODULES, CONTEXTS, KINDS };
#define EXPORT __attribute__((visibility("default")))
#define HANDLE void *

typedef struct { int kind; char *to; const char *from; size_t count; char arguments[512]; unsigned grid[3], block[3]; } op;
typedef struct { int context; op *ops; size_t count; } ops;
typedef struct { int context, capturing; ops recorded; } stream; /* capturing: 2 once something has broken it */
typedef struct { int context; } thing;                           /* an event, a module */
typedef struct { int context; size_t bytes; } head;              /* 256 bytes before each block */

static _Atomic int live[KINDS], sticky, retained;
static _Atomic size_t used;
static int integrated;
static size_t limit = 1u << 30;
static __thread int depth, entered;
static __thread stream *captured;
static _Atomic int now = 1, dangling; /* the context that is there, by number; uses of what went with an earlier one */
static char contexts[256];
static int the_function;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* the emulated kernels share their memory */

/* Where software_kernels.cpp is linked in, livecut's own kernels run, too: their entry and the size of what they take. */
typedef void entry(const unsigned *grid, const unsigned *block, const void *arguments, int reverse);
__attribute__((weak)) entry *software_kernel(const char *name, size_t *bytes);
typedef struct { entry *run; size_t bytes; } kernel;

EXPORT int software_live(int kind) { return live[kind]; }
EXPORT int software_depth(void) { return depth; }
EXPORT int software_dangling(void) { return dangling; }
EXPORT void software_set(int fault, int is_integrated, size_t bytes) { sticky = fault, integrated = is_integrated, limit = bytes; }

#define NEED_CONTEXT do { \
    if (!depth) return INVALID_CONTEXT; \
    if (entered != now) return dangling++, CONTEXT_DESTROYED; \
    if (sticky) return sticky; \
} while (0)
/* The same for a call on something that was taken earlier. */
#define NEED(what) do { NEED_CONTEXT; if (!(what) || (what)->context != now) return dangling++, INVALID_VALUE; } while (0)
/* The same for a call that no thread may make while it captures. */
#define NEED_NO_CAPTURE do { NEED_CONTEXT; if (captured) return captured->capturing = 2, CAPTURE_UNSUPPORTED; } while (0)

/* -- what is here */
EXPORT int cuInit(unsigned flags) { return flags ? INVALID_VALUE : OK; }
EXPORT int cuDriverGetVersion(int *version) { return *version = 13000, OK; }
EXPORT int cuDeviceGetCount(int *count) { return *count = 1, OK; }
EXPORT int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal ? 101 : OK; }
EXPORT int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Software GPU", size); return device; }
EXPORT int cuDeviceGetPCIBusId(char *id, int size, int device) { strncpy(id, "0000:65:00.0", size); return device; }
EXPORT int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8, *minor = 6; return device; }
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = limit; return device; }
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : attribute == 18 ? integrated : 0;
    return device;
}
EXPORT int cuGetErrorString(int code, const char **text) {
    *text = code == NO_MEMORY ? "out of memory" : code == INVALID_CONTEXT ? "invalid device context"
          : code == NO_BINARY ? "no kernel image is available for execution on the device"
          : code == NOT_FOUND ? "named symbol not found" : code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
          : code == CAPTURE_UNSUPPORTED ? "operation not permitted when stream is capturing"
          : code == CAPTURE_INVALIDATED ? "operation failed due to a previous error during capture"
          : code == CONTEXT_DESTROYED ? "context is destroyed" : "some error";
    return OK;
}

/* -- contexts */
static void destroy(void) {
    dangling += live[HOST_MEMORY]; /* its pages are gone, and somebody still has them */
    for (int kind = 0; kind < CONTEXTS; kind++) live[kind] = 0;
    used = 0, now++;
}
EXPORT int cuDevicePrimaryCtxRetain(HANDLE *context, int device) {
    retained++, live[CONTEXTS] = retained;
    return *context = contexts + now % sizeof contexts, device;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
    if (!--retained) destroy();
    return live[CONTEXTS] = retained, device;
}
EXPORT int cuDevicePrimaryCtxReset_v2(int device) { destroy(), sticky = 0; return device; }
EXPORT int cuCtxPushCurrent_v2(HANDLE context) {
    if (context != contexts + now % sizeof contexts) return dangling++, CONTEXT_DESTROYED;
    return depth++, entered = now, OK;
}
EXPORT int cuCtxPopCurrent_v2(HANDLE *context) { *context = contexts + entered % sizeof contexts; return depth ? (depth--, OK) : INVALID_CONTEXT; }
EXPORT int cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : INVALID_CONTEXT; }
EXPORT int cuCtxSynchronize(void) { NEED_CONTEXT; return OK; }

/* -- memory: a head in front of every block */
static void *take(size_t bytes, int kind) {
    char *block;
    if (used + bytes > limit || posix_memalign((void **)&block, 256, bytes + 256)) return NULL;
    *(head *)block = (head){now, bytes}, used += bytes, live[kind]++;
    return memset(block + 256, 0xA5, bytes);
}
static int give_back(void *block, int kind) {
    head *start = (head *)((char *)block - 256);
    NEED(start);
    used -= start->bytes, live[kind]--;
    free(start);
    return OK;
}
EXPORT int cuMemAlloc_v2(uint64_t *pointer, size_t bytes) { NEED_NO_CAPTURE; return (*pointer = (uint64_t)take(bytes, MEMORY)) ? OK : NO_MEMORY; }
EXPORT int cuMemFree_v2(uint64_t pointer) { NEED_NO_CAPTURE; return give_back((void *)pointer, MEMORY); }
EXPORT int cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) { (void)flags; NEED_NO_CAPTURE; return (*pointer = take(bytes, HOST_MEMORY)) ? OK : NO_MEMORY; }
EXPORT int cuMemFreeHost(void *pointer) {
    if (depth && entered == now && sticky) return live[HOST_MEMORY]--, sticky; /* it is not freed, but nobody has it */
    NEED_NO_CAPTURE;
    return give_back(pointer, HOST_MEMORY);
}
EXPORT int cuMemHostGetDevicePointer_v2(uint64_t *pointer, void *host, unsigned flags) { NEED_CONTEXT; return *pointer = (uint64_t)host, (int)flags; }
EXPORT int cuMemGetInfo_v2(size_t *available, size_t *total) { NEED_CONTEXT; return *available = limit - used, *total = limit, OK; }

/* -- work: done at once, or recorded */
static void run(const op *o) {
    struct { uint64_t target; int32_t count; float value; } scale;  /* the one kernel: target[i] *= value */
    if (o->kind == 0) memcpy(o->to, o->from, o->count);
    if (o->kind == 1) memset(o->to, (int)(intptr_t)o->from, o->count);
    if (o->kind == 2) {
        memcpy(&scale, o->arguments, sizeof scale);
        for (int i = 0; i < scale.count; i++) ((float *)scale.target)[i] *= scale.value;
    }
    if (o->kind == 3) {
        if (((const uint64_t *)o->arguments)[2] - 1 < 4095) sticky = ILLEGAL_ADDRESS; /* the third is a pointer in all */
        else ((const kernel *)o->from)->run(o->grid, o->block, o->arguments, 0);
    }
}
static int queue(stream *s, op o) {
    NEED_CONTEXT;
    if (s) NEED(s);
    if (s && s->capturing == 2) return CAPTURE_INVALIDATED;
    if (!s || !s->capturing) {
        pthread_mutex_lock(&one_at_a_time);
        run(&o);
        pthread_mutex_unlock(&one_at_a_time);
        return OK;
    }
    s->recorded.ops = realloc(s->recorded.ops, (s->recorded.count + 1) * sizeof o);
    s->recorded.ops[s->recorded.count++] = o;
    return OK;
}
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, stream *s) { return queue(s, (op){0, (char *)to, from, n, {0}}); }
EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, stream *s) { return queue(s, (op){0, to, (char *)from, n, {0}}); }
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, stream *s) { return queue(s, (op){0, (char *)to, (char *)from, n, {0}}); }
EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t n, stream *s) { return queue(s, (op){1, (char *)to, (char *)(intptr_t)value, n, {0}}); }
EXPORT int cuLaunchKernel(HANDLE function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, stream *s, void **parameters, void **extra) {
    op o = {function == &the_function ? 2 : 3, NULL, function, 0, {0}, {gx, gy, gz}, {bx, by, bz}};
    const size_t bytes = o.kind == 2 ? 16 : ((const kernel *)function)->bytes;
    if (!(gx && gy && gz && bx && by && bz) || bx * by * bz > 1024 || shared > 49152) return INVALID_VALUE;
    if (parameters || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4]) return INVALID_VALUE;
    if (*(size_t *)extra[3] != bytes || bytes > sizeof o.arguments) return INVALID_VALUE;
    memcpy(o.arguments, extra[1], bytes);
    return queue(s, o);
}

/* -- streams, events, modules */
EXPORT int cuStreamCreate(stream **s, unsigned flags) { NEED_CONTEXT; *s = calloc(1, sizeof **s), (*s)->context = now; live[STREAMS]++; return flags == 1 ? OK : INVALID_VALUE; }
EXPORT int cuStreamDestroy_v2(stream *s) { NEED(s); if (captured == s) captured = NULL; free(s); live[STREAMS]--; return OK; }
EXPORT int cuStreamSynchronize(stream *s) { NEED(s); return s->capturing ? CAPTURE_UNSUPPORTED : OK; }
EXPORT int cuStreamWaitEvent(stream *s, thing *event, unsigned flags) { NEED(event); NEED(s); return flags ? INVALID_VALUE : OK; }
EXPORT int cuEventCreate(thing **event, unsigned flags) { (void)flags; NEED_CONTEXT; *event = malloc(sizeof **event), (*event)->context = now; live[EVENTS]++; return OK; }
EXPORT int cuEventDestroy_v2(thing *event) { NEED(event); free(event); live[EVENTS]--; return OK; }
EXPORT int cuEventRecord(thing *event, stream *s) { NEED(event); NEED(s); return OK; }
EXPORT int cuEventSynchronize(thing *event) { NEED(event); return OK; }
EXPORT int cuEventQuery(thing *event) { NEED(event); return OK; }
EXPORT int cuEventElapsedTime(float *ms, HANDLE a, HANDLE b) { NEED_CONTEXT; *ms = 0.5f; return a && b ? OK : INVALID_VALUE; }
EXPORT int cuEventElapsedTime_v2(float *ms, HANDLE a, HANDLE b) { NEED_CONTEXT; *ms = 0.5f; return a && b ? OK : INVALID_VALUE; }
EXPORT int cuModuleLoadDataEx(thing **module, const void *image, unsigned n, const int *options, void **values) {
    NEED_CONTEXT;
    for (unsigned i = 0; i < n; i++)
        if (options[i] == 4 || options[i] == 6) values[i] = NULL; /* bytes of the compiler's two logs */
    const int is_cubin = software_kernel && !memcmp(image, "\177ELF", 4) && ((const char *)image)[49] == 86; /* its SM */
    if (memcmp(image, "software", 8) && !is_cubin) return NO_BINARY;
    *module = malloc(sizeof **module), (*module)->context = now, live[MODULES]++;
    return OK;
}
EXPORT int cuModuleUnload(thing *module) { NEED(module); free(module); live[MODULES]--; return OK; }
EXPORT int cuModuleGetFunction(HANDLE *function, HANDLE module, const char *name) {
    static kernel kernels[64];
    static int count;
    size_t bytes;
    entry *found = software_kernel ? software_kernel(name, &bytes) : NULL;
    if (found && module) {
        int i = 0;
        pthread_mutex_lock(&one_at_a_time);
        while (i < count && kernels[i].run != found) i++;
        if (i == count) kernels[count++] = (kernel){found, bytes};
        pthread_mutex_unlock(&one_at_a_time);
        return *function = &kernels[i], OK;
    }
    *function = &the_function;
    return module && !strcmp(name, "scale") ? OK : NOT_FOUND;
}

/* -- graphs */
EXPORT int cuStreamBeginCapture_v2(stream *s, int mode) {
    NEED(s);
    if (s->capturing || mode != 1) return INVALID_VALUE;
    s->capturing = 1, s->recorded = (ops){now, NULL, 0}, captured = s;
    return OK;
}
EXPORT int cuStreamEndCapture(stream *s, ops **graph) {
    NEED(s);
    if (!s->capturing) return INVALID_VALUE;
    captured = NULL, *graph = NULL;
    if (s->capturing == 2) return free(s->recorded.ops), s->capturing = 0, CAPTURE_INVALIDATED;
    *graph = malloc(sizeof **graph), **graph = s->recorded, s->capturing = 0, live[GRAPHS]++;
    return OK;
}
EXPORT int cuGraphGetNodes(ops *graph, void *nodes, size_t *count) { if (nodes) return INVALID_VALUE; *count = graph->count; return OK; }
EXPORT int cuGraphInstantiateWithFlags(ops **executable, ops *graph, unsigned long long flags) {
    NEED_CONTEXT;
    if (flags) return INVALID_VALUE;
    *executable = malloc(sizeof **executable), **executable = (ops){now, NULL, graph->count}, live[GRAPHS]++;
    (*executable)->ops = malloc(graph->count * sizeof(op) + 1);
    memcpy((*executable)->ops, graph->ops, graph->count * sizeof(op));
    return OK;
}
EXPORT int cuGraphLaunch(ops *executable, stream *s) {
    NEED(executable);
    for (size_t i = 0; i < executable->count; i++) {
        int code = queue(s, executable->ops[i]);
        if (code) return code;
    }
    return OK;
}
EXPORT int cuGraphDestroy(ops *graph) { free(graph->ops), free(graph), live[GRAPHS]--; return OK; }
EXPORT int cuGraphExecDestroy(ops *executable) { NEED(executable); return cuGraphDestroy(executable); }
