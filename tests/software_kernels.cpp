// livecut's CUDA kernels for the software driver: the same source, compiled for the host.
#include "../kernels/cuda/emulate.cpp"

#include <cstring>

typedef void entry(const unsigned *, const unsigned *, const void *, int);
static const struct {
    const char *name;
    entry *run;
    unsigned (*bytes)();
} kernels[] = {
#define ROW(name) {#name, emulate_##name, sizeof_##name},
    ROW(lc_preprocess) ROW(lc_measure) ROW(lc_solve) ROW(lc_smooth) ROW(lc_remember) ROW(lc_blur)
    ROW(lc_composite_packed) ROW(lc_composite_straight) ROW(lc_composite_alpha) ROW(lc_composite_planar) ROW(lc_over)
};

extern "C" entry *software_kernel(const char *name, size_t *bytes) {
    for (const auto &each : kernels)
        if (!strcmp(each.name, name)) {
            *bytes = each.bytes();
            return each.run;
        }
    return nullptr;
}
