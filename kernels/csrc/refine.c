#include "refine.h"

#include "dispatch.h"
#include "refine_colour.h"
#include "refine_tables.h"
#include "refine_work.h"

#define LC_SUFFIX plain
#include "refine_all_impl.h"
#undef LC_SUFFIX
#if LC_X86
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")
#define LC_SUFFIX avx2
#include "refine_all_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx2,fma,f16c,bmi2,prefer-vector-width=512")
#define LC_SUFFIX avx512
#include "refine_all_impl.h"
#undef LC_SUFFIX
#pragma GCC pop_options
#endif

typedef struct {
    lc_task read_alpha, envelope, read_colours, coefficients, smooth_coefficients, weigh,
        weigh_colours, fuse_colours, packed_rows, planar_pairs,
        over_rows, blur_read, blur_pass, blur_rows;
} lc_loops;

#define LC_LOOPS(s)                                                                                          \
    {read_alpha_##s,    envelope_##s,     read_colours_##s,  coefficients_##s, smooth_coefficients_##s,      \
     weigh_##s,         weigh_colours_##s, fuse_colours_##s, packed_rows_##s,  planar_pairs_##s,             \
     over_rows_##s,     blur_read_##s,    blur_pass_##s,     blur_rows_##s}

static const lc_loops loops_by_level[] = {
    LC_LOOPS(plain),
#if LC_X86
    LC_LOOPS(avx2),
    LC_LOOPS(avx512),
#endif
};

void lc_refine_init(void) { lc_fill_shuffle_tables(); }

size_t lc_refine_scratch_bytes(int width, int height, int rw, int rh, int threads) {
    lc_work w;
    (void)height;
    return lc_carve(&w, 0, width, rw, rh, threads);
}

/* Columns of the frame on a grid of n_in / step cells; index steps by exact fractions, as lc_place. */
static void place_columns(lc_columns *columns, int width, int n_in, int step, int cells) {
    int narrow = 1;
    for (int x = 0; x < width; x++) columns->index[x] = lc_place(x, width, n_in, step, cells, &columns->weight[x]);
    for (int x = width; x < width + LC_BLOCK; x++) {
        columns->index[x] = columns->index[width - 1];
        columns->weight[x] = 0;
    }
    for (int x = 0; x < width + LC_BLOCK; x++) {
        columns->near[x] = (int16_t)(columns->index[x] - columns->index[x & ~(LC_BLOCK - 1)]);
        columns->near8[x] = (int16_t)(columns->index[x] - columns->index[x & ~7]);
        if (columns->near[x] > LC_BLOCK - 2 || columns->near8[x] > 6) narrow = 0;
    }
    columns->narrow = narrow;
}

static void prepare(lc_work *w, const lc_refine_job *job) {
    const lc_yuv k = lc_yuv_coefficients(job->bt601, job->full_range);
    const uint8_t *c = job->colour;
    w->colour_yuv[0] = (uint8_t)((int)((k.yr * c[0] + k.yg * c[1] + k.yb * c[2]) / 32768.0 + k.y0 / 128 + 0.5));
    w->colour_yuv[1] = (uint8_t)((int)((k.ur * c[0] + k.ug * c[1] + k.ub * c[2]) / 32768.0 + 128.5));
    w->colour_yuv[2] = (uint8_t)((int)((k.vr * c[0] + k.vg * c[1] + k.vb * c[2]) / 32768.0 + 128.5));
    if (job->background == LC_COLOUR)
        for (int x = 0; x < job->width; x++)
            for (int i = 0; i < 3; i++) w->fill[3 * x + i] = c[job->out_format == LC_BGR ? 2 - i : i];
    place_columns(&w->fine, job->width, job->rw, 1, job->rw);
    if (job->decontaminate) place_columns(&w->coarse, job->width, job->rw, 2, w->fw);
}

static void open_work(lc_work *w, const lc_refine_job *job, int threads) {
    lc_carve(w, job->scratch, job->width, job->rw, job->rh, threads);
    w->job = job;
    w->yuv = 0;
    atomic_init(&w->free_slots, threads == LC_MAX_SLOTS ? ~0ull : (1ull << threads) - 1);
}

/* Find the cells that any mixed block is enlarged from, and what those need; 0 where no block is mixed. */
static int bound_mixed(lc_work *w) {
    const lc_refine_job *job = w->job;
    lc_box box = {job->rw, job->rh, 0, 0};
    for (int y = 0; y < job->rh; y++)
        for (int word = 0; word <= (job->rw - 1) / 32; word++) {
            const size_t at = (size_t)y * w->words + word;
            uint32_t mixed = ~w->is_none[at] & (job->input_alpha ? ~0u : ~w->is_all[at]);
            if (word == (job->rw - 1) / 32) mixed &= ~0u >> (31 - (job->rw - 1) % 32);
            if (!mixed) continue;
            const int first = 32 * word + __builtin_ctz(mixed), last = 32 * word + 31 - __builtin_clz(mixed);
            box.x0 = first < box.x0 ? first : box.x0;
            box.x1 = last + 1 > box.x1 ? last + 1 : box.x1;
            box.y0 = y < box.y0 ? y : box.y0;
            box.y1 = y + 1;
        }
    /* Without an envelope a hard edge may have no mixed cell at all. */
    if (!job->refine) box = (lc_box){0, 0, job->rw, job->rh};
    if (box.x0 >= box.x1) return 0;
    int reach = 1; /* a mixed block reads cells to both sides of its mixed ones */
    for (int i = 0; i < w->blocks; i++) {
        const int end = (i + 1) * LC_BLOCK < job->width ? (i + 1) * LC_BLOCK : job->width;
        const int cells = w->fine.index[end - 1] + 1 - w->fine.index[i * LC_BLOCK];
        reach = cells > reach ? cells : reach;
    }
    w->box = lc_grow(box, reach, 1, job->rw, job->rh);
    w->slopes = lc_grow(w->box, job->radius, job->radius, job->rw, job->rh);
    w->read = lc_grow(w->slopes, job->radius, job->radius, job->rw, job->rh);
    if (job->decontaminate) {
        const int r = job->fusion_radius;
        const lc_box half = {w->box.x0 / 2, w->box.y0 / 2, (w->box.x1 + 1) / 2, (w->box.y1 + 1) / 2};
        w->fused = lc_grow(half, 1, 1, w->fw, w->fh);
        w->weighed = lc_grow(w->fused, r, r, w->fw, w->fh);
        const lc_box cells = {2 * w->weighed.x0, 2 * w->weighed.y0, 2 * w->weighed.x1, 2 * w->weighed.y1};
        w->read.x0 = cells.x0 < w->read.x0 ? cells.x0 : w->read.x0;
        w->read.y0 = cells.y0 < w->read.y0 ? cells.y0 : w->read.y0;
        w->read.x1 = cells.x1 > w->read.x1 ? cells.x1 : w->read.x1;
        w->read.y1 = cells.y1 > w->read.y1 ? cells.y1 : w->read.y1;
        w->read = lc_grow(w->read, 0, 0, job->rw, job->rh);
    }
    return 1;
}

void lc_refine_run(const lc_refine_job *job, lc_parallel_for_fn parallel_for, int level) {
    const lc_loops *loops = &loops_by_level[level];
    const int threads = job->threads < LC_MAX_SLOTS ? job->threads : LC_MAX_SLOTS;
    const int planar_in = job->in_format == LC_I420 || job->in_format == LC_NV12;
    const int planar_out = job->out_format == LC_I420 || job->out_format == LC_YUVA420;
    lc_work w;
    open_work(&w, job, threads);
    w.yuv = planar_in && planar_out;
    w.luma_shift = job->radius <= 5 ? 3 : 7;
    w.coefficients = job->refine ? LC_COEFFICIENTS : 1;
    prepare(&w, job);
    parallel_for(loops->read_alpha, &w, job->rh, threads);
    if (job->refine) parallel_for(loops->envelope, &w, job->rh, threads);
    if ((job->refine || job->decontaminate) && bound_mixed(&w)) {
        parallel_for(loops->read_colours, &w, w.read.y1 - w.read.y0, threads);
        if (job->refine) {
            parallel_for(loops->coefficients, &w, w.slopes.y1 - w.slopes.y0, threads);
            parallel_for(loops->smooth_coefficients, &w, w.box.y1 - w.box.y0, threads);
        }
        if (job->decontaminate) {
            parallel_for(loops->weigh, &w, w.read.y1 - w.read.y0, threads);
            parallel_for(loops->weigh_colours, &w, w.weighed.y1 - w.weighed.y0, threads);
            parallel_for(loops->fuse_colours, &w, w.fused.y1 - w.fused.y0, threads);
        }
    }
    if (planar_out)
        parallel_for(loops->planar_pairs, &w, (job->height + 1) / 2, threads);
    else
        parallel_for(loops->packed_rows, &w, job->height, threads);
}

void lc_blur_run(const lc_refine_job *job, lc_parallel_for_fn parallel_for, int level) {
    const lc_loops *loops = &loops_by_level[level];
    const int threads = job->threads < LC_MAX_SLOTS ? job->threads : LC_MAX_SLOTS;
    lc_work w;
    open_work(&w, job, threads);
    w.coefficients = 3;
    place_columns(&w.fine, job->width, job->rw, 1, job->rw);
    int32_t *one = w.slope, *other = w.slope + (size_t)job->rh * w.grid_row;
    for (int c = 0; c < 3; c++) {
        lc_blur_pass read = {&w, c, 0, one}, first = {&w, c, one, other}, second = {&w, c, other, one};
        lc_blur_pass third = {&w, c, one, 0};
        parallel_for(loops->blur_read, &read, job->rh, threads);
        parallel_for(loops->blur_pass, &first, job->rh, threads);
        parallel_for(loops->blur_pass, &second, job->rh, threads);
        parallel_for(loops->blur_pass, &third, job->rh, threads);
    }
    parallel_for(loops->blur_rows, &w, job->height, threads);
}

void lc_composite_over(const lc_over_job *job, lc_parallel_for_fn parallel_for, int threads, int level) {
    parallel_for(loops_by_level[level].over_rows, (void *)job, job->height, threads);
}
