/* Preprocess: the row driver, and the choice of instruction set. The loops are in preprocess_impl.h. */
#include "preprocess.h"

#include <stdatomic.h>

#include "dispatch.h"
#include "scratch.h"

/* Round to nearest even, as the hardware conversion does. */
static inline uint16_t float_to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);  /* NaN */
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (magnitude < 0x38800000) {                                  /* subnormal: adding 0.5 rounds at 2^-24 */
        float small;
        memcpy(&small, &magnitude, 4);
        small += 0.5f;
        memcpy(&magnitude, &small, 4);
        return (uint16_t)(sign | (magnitude - 0x3f000000));
    }
    return (uint16_t)(sign | ((magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13));
}

/* Into the second-level cache: the first is full with the row at hand. */
#define LC_FETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T1)

#define LC_SUFFIX plain
#include "preprocess_impl.h"
#undef LC_SUFFIX
#if LC_X86
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")
#define LC_SUFFIX avx2
#include "preprocess_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")
#define LC_SUFFIX avx512
#include "preprocess_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
static const struct lc_preprocess_ops *const ops_of_level[] = {&preprocess_ops_plain, &preprocess_ops_avx2,
                                                               &preprocess_ops_avx512};
#else
static const struct lc_preprocess_ops *const ops_of_level[] = {&preprocess_ops_plain};
#endif

struct run {
    const struct lc_preprocess *job;
    const struct lc_preprocess_ops *ops;
    size_t row_samples, plane_floats;
    atomic_int failed;
};

/* What one thread works in. */
struct work {
    uint16_t *row, *halves[2];
    float *planes[3], *line;
};

static const size_t item_bytes[] = {[LC_F32] = 4, [LC_F16] = 2, [LC_U8] = 1};

static size_t padded(size_t count) { return (count + LC_ROW_PAD + 31) / 32 * 32; }

static int get_work(const struct run *run, struct work *work) {
    size_t row = run->row_samples, plane = run->plane_floats;
    char *memory = lc_scratch_get(3 * row * sizeof(uint16_t) + 6 * plane * sizeof(float));
    if (!memory) return -1;
    work->row = (uint16_t *)memory;
    work->halves[0] = work->row + row;
    work->halves[1] = work->halves[0] + row;
    work->planes[0] = (float *)(work->halves[1] + row); /* rows and planes are multiples of 64 bytes */
    work->planes[1] = work->planes[0] + plane;
    work->planes[2] = work->planes[1] + plane;
    work->line = work->planes[2] + plane; /* three planes long: one interleaved row */
    return 0;
}

/* Output row y of a plane into `out`. Returns what to fetch next, for the loops that follow. */
static const uint8_t *resize_rows(const struct lc_preprocess_ops *ops, const struct lc_rows *rows,
                                  const struct lc_plane *plane, int y, uint16_t *out) {
    const uint8_t *first = plane->data + rows->start[y] * plane->stride;
    const int count = rows->count[y], bytes = plane->row_bytes;
    const uint8_t *ahead = first + (count + count / 2) * plane->stride; /* the middle of the next output row's rows */
    const ptrdiff_t at = (ptrdiff_t)y * rows->taps;
    if (rows->many) {
        ops->vertical_many(first, plane->stride, rows->many + at, count, bytes, out);
        return ahead;
    }
    const uint8_t *pointers[LC_FEW_TAPS];
    for (int k = 0; k < count; k++) pointers[k] = first + k * plane->stride;
    if (rows->exact)
        ops->vertical_exact(pointers, rows->exact + at, rows->one, count, bytes, ahead, out);
    else
        ops->vertical(pointers, rows->few + at, count, bytes, ahead, out);
    return ahead + bytes;
}

static void rgb_row(const struct run *run, const struct work *work, int y, float *const *rgb) {
    const struct lc_preprocess *job = run->job;
    const struct lc_preprocess_ops *ops = run->ops;
    const uint8_t *ahead = resize_rows(ops, &job->rows[0], &job->planes[0], y, work->row);
    if (job->channels >= 3) {
        ops->horizontal_pixels(work->row, job->channels, &job->columns[0], ahead, work->planes);
        return;
    }
    ops->horizontal_plane(work->row, &job->columns[0], ahead, rgb[0]);
    const uint8_t *aheads[2];
    if (job->channels == 2) {
        aheads[0] = resize_rows(ops, &job->rows[1], &job->planes[1], y, work->row);
        aheads[1] = aheads[0] + job->planes[1].row_bytes;
        ops->split(work->row, job->planes[1].row_bytes / 2, work->halves[0], work->halves[1]);
    } else {
        for (int k = 0; k < 2; k++)
            aheads[k] = resize_rows(ops, &job->rows[1], &job->planes[1 + k], y, work->halves[k]);
    }
    for (int k = 0; k < 2; k++) ops->horizontal_plane(work->halves[k], &job->columns[1], aheads[k], rgb[1 + k]);
    ops->yuv_to_rgb(job->yuv, job->width, rgb[0], rgb[1], rgb[2]);
}

/* One line of `count` values into out at element `at`, in the dtype of out. */
static void store(const struct run *run, const float *line, int count, size_t at) {
    char *to = (char *)run->job->out + at * item_bytes[run->job->dtype];
    if (run->job->dtype == LC_F32) memcpy(to, line, count * sizeof(float));
    if (run->job->dtype == LC_F16) run->ops->to_half(line, count, (uint16_t *)to);
    if (run->job->dtype == LC_U8) run->ops->to_bytes(line, count, (uint8_t *)to);
}

static void emit(const struct run *run, const struct work *work, int y, float *const *rgb) {
    const struct lc_preprocess *job = run->job;
    const struct lc_preprocess_ops *ops = run->ops;
    size_t at = (size_t)y * job->input_width + job->x, plane = (size_t)job->input_width * job->input_height;
    if (job->small) ops->interleave_bytes(rgb, job->width, job->small + y * job->small_stride + 3 * job->x);
    if (job->nhwc) {
        float *scaled[3];
        for (int k = 0; k < 3; k++) { /* rgb is not needed any more: scale in its place */
            scaled[k] = rgb[job->source_of[k]];
            for (int i = 0; i < job->width; i++) scaled[k][i] = scaled[k][i] * job->scale[k] + job->offset[k];
        }
        ops->interleave(scaled, job->width, work->line);
        store(run, work->line, 3 * job->width, 3 * at);
        return;
    }
    for (int k = 0; k < 3; k++) {
        const float *from = rgb[job->source_of[k]];
        if (job->dtype == LC_F32) {
            ops->scale(from, job->width, job->scale[k], job->offset[k], (float *)job->out + k * plane + at);
        } else {
            ops->scale(from, job->width, job->scale[k], job->offset[k], work->line);
            store(run, work->line, job->width, k * plane + at);
        }
    }
}

/* Columns [begin, end) of row y are padding. */
static void pad(const struct run *run, const struct work *work, int y, int begin, int end) {
    const struct lc_preprocess *job = run->job;
    int count = end - begin;
    size_t at = (size_t)y * job->input_width + begin, plane = (size_t)job->input_width * job->input_height;
    if (count <= 0) return;
    if (job->small) {
        uint8_t *to = job->small + y * job->small_stride + 3 * begin;
        for (int i = 0; i < 3 * count; i++) to[i] = (uint8_t)(job->pad_small[i % 3] + 0.5f);
    }
    if (job->nhwc) {
        for (int i = 0; i < 3 * count; i++) work->line[i] = job->pad[i % 3];
        store(run, work->line, 3 * count, 3 * at);
        return;
    }
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < count; i++) work->line[i] = job->pad[k];
        store(run, work->line, count, k * plane + at);
    }
}

/* The whole row where the chip has windows and the picture is packed; 0 where it is not. */
static int windowed_row(const struct run *run, const struct work *work, int y, float *const *rgb) {
    const struct lc_preprocess *job = run->job;
    const struct lc_preprocess_ops *ops = run->ops;
    if (job->channels < 3 || !ops->windowed_sums || !job->columns[0].windows.pixels) return 0;
    int32_t *sums = (int32_t *)work->line;
    const struct lc_columns *columns = &job->columns[0];
    const uint8_t *ahead = resize_rows(ops, &job->rows[0], &job->planes[0], y - job->y, work->row);
    ops->windowed_sums(work->row, columns, ahead, sums);
    int groups = columns->windows.first[columns->windows.tables];
    if (job->nhwc || job->dtype != LC_F32) {
        ops->sums_to_planes(sums, job->width, columns->unit, work->planes);
        emit(run, work, y, rgb);
        return 1;
    }
    size_t at = (size_t)y * job->input_width + job->x, plane = (size_t)job->input_width * job->input_height;
    struct lc_finish to = {.unit = columns->unit, .red = job->red_first ? 0 : 2, .ahead = ahead + 128 * groups};
    if (job->small) to.small = job->small + y * job->small_stride + 3 * job->x;
    for (int k = 0; k < 3; k++) {
        int source = job->red_first ? job->source_of[k] : 2 - job->source_of[k];
        to.scale[source] = job->scale[k];
        to.offset[source] = job->offset[k];
        to.out[source] = (float *)job->out + k * plane + at;
    }
    ops->finish(sums, job->width, &to);
    return 1;
}

static void rows_task(void *context, int begin, int end) {
    struct run *run = context;
    const struct lc_preprocess *job = run->job;
    struct work work;
    if (get_work(run, &work)) {
        atomic_store(&run->failed, 1);
        return;
    }
    /* The horizontal pass writes planes in source channel order; name them R, G, B. */
    int swap = job->channels >= 3 && !job->red_first;
    float *rgb[3] = {work.planes[swap ? 2 : 0], work.planes[1], work.planes[swap ? 0 : 2]};
    for (int y = begin; y < end; y++) {
        if (y < job->y || y >= job->y + job->height) {
            pad(run, &work, y, 0, job->input_width);
            continue;
        }
        if (!windowed_row(run, &work, y, rgb)) {
            rgb_row(run, &work, y - job->y, rgb);
            emit(run, &work, y, rgb);
        }
        pad(run, &work, y, 0, job->x);
        pad(run, &work, y, job->x + job->width, job->input_width);
    }
}

int lc_preprocess_run(const struct lc_preprocess *job, lc_parallel_for_fn parallel_for, int threads, int level) {
    int bytes = job->planes[0].row_bytes;
    if (job->channels < 3 && job->planes[1].row_bytes > bytes) bytes = job->planes[1].row_bytes;
    struct run run = {
        .job = job,
        .ops = ops_of_level[level],
        /* a padded output pixel starts at 0 and reads no more than the taps of a real one */
        .row_samples = padded((size_t)bytes + 4 * (size_t)job->columns[0].taps + 4 * (size_t)job->columns[1].taps),
        .plane_floats = padded((size_t)job->input_width),
    };
    /* Buffers a multiple of 4 KiB apart look alike to the store queue, and reads of one wait for writes of another. */
    if (run.row_samples % 2048 < 128) run.row_samples += 160;
    parallel_for(rows_task, &run, job->input_height, threads);
    return run.failed ? -1 : 0;
}
