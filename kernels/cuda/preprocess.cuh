// A frame to the network's input in one pass: resize, letterbox, colour order, normalise; and the RGB guide.
//
// A block makes LC_TILE columns of one row of the input. It sums the frame's rows under it in whole numbers, four
// bytes a thread and a row, into shared memory; then each thread weighs the sums along its own pixel. Weights are
// overlaps in exact whole numbers too, so only the last sum rounds (24 bits).
//
// Floor in bytes, 1080p to 512 x 288 in float32: the frame is read once (6.22 MB packed, 3.11 MB planar; rows that
// two rows of the input share come from the cache), 1.77 MB of input and 0.44 MB of guide are written: 8.4 and 5.3 MB.
#ifndef LIVECUT_PREPROCESS_CUH
#define LIVECUT_PREPROCESS_CUH

#include "types.cuh"

// One axis of the resize: `source2` is twice the samples that count, odd where the last chroma sample is half one.
struct lc_axis {
    int source2, samples, target;
};

// What one output takes of an axis: samples [begin, end). Area: sample s covers [s, s + 1) * unit, the output
// [low, low + one). Bilinear: sample `begin` weighs one - low, the next one low.
struct lc_span {
    int begin, end, low, one, unit;  // unit is 0 where bilinear
};

LC_INLINE lc_axis lc_axis_of(int source2, int target) {
    lc_axis axis;
    axis.source2 = source2, axis.samples = (source2 + 1) / 2, axis.target = target;
    return axis;
}

LC_INLINE lc_span lc_span_of(lc_axis axis, int i) {
    lc_span span;
    if (axis.source2 >= 2 * axis.target) {
        span.unit = 2 * axis.target, span.one = axis.source2, span.low = i * axis.source2;
        span.begin = span.low / span.unit;
        span.end = lc_min((span.low + span.one - 1) / span.unit + 1, axis.samples);
        return span;
    }
    const int centre = (2 * i + 1) * axis.source2 - 2 * axis.target;  // in 4 * target to a sample
    span.unit = 0, span.one = 4 * axis.target;
    const int inside = lc_clamp(centre, 0, (axis.samples - 1) * span.one);
    span.begin = inside / span.one;
    span.low = inside - span.begin * span.one;
    span.end = lc_min(span.begin + 2, axis.samples);
    return span;
}

// The weight of sample s of the span; all of them add up to span.one.
LC_INLINE int lc_weight_of(lc_span span, int s) {
    if (!span.unit) return s == span.begin ? span.one - span.low : span.low;
    return lc_min((s + 1) * span.unit, span.low + span.one) - lc_max(s * span.unit, span.low);
}

// Bytes [at, at + 4) of a row as one word; those from `end` on are 0.
LC_INLINE lc_u32 lc_word(const lc_u8 *row, int at, int end, int words) {
    if (words && at + 4 <= end) return *(const lc_u32 *)(row + at);
    lc_u32 word = 0;
    for (int k = 0; k < 4 && at + k < end; k++) word |= (lc_u32)row[at + k] << (8 * k);
    return word;
}

// Rows of one plane under row y, weighed: bytes [at, at + n) into sums.
LC_INLINE void lc_sum_rows(const lc_u8 *plane, lc_i64 stride, lc_span rows, int at, int n, int words, float *sums) {
    for (int i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x) {
        lc_u32 a = 0, b = 0, c = 0, d = 0;
        for (int s = rows.begin; s < rows.end; s++) {
            const lc_u32 word = lc_word(plane + s * stride, at + i, at + n, words), weight = lc_weight_of(rows, s);
            a += weight * (word & 255), b += weight * (word >> 8 & 255);
            c += weight * (word >> 16 & 255), d += weight * (word >> 24);
        }
        // At most 255 * 65536: every one of them is a float.
        *(float4 *)(sums + i) = lc_four((float)a, (float)b, (float)c, (float)d);
    }
}

// Levels of `channels` channels of one plane at column x of row y of the resized frame; the block holds columns
// [first, last) of it. Threads whose x lies outside help, and get nothing.
template <int channels>
LC_INLINE void lc_resize(const lc_u8 *plane, lc_i64 stride, lc_axis across, lc_axis down, int x, int y, int first,
                         int last, int words, float *sums, float *level) {
    const lc_span rows = lc_span_of(down, y), taps = lc_span_of(across, lc_clamp(x, first, last - 1));
    const int step = channels == 3 ? 12 : 4;  // bytes: whole words and whole pixels
    const int begin = lc_span_of(across, first).begin * channels / step * step;
    const int end = lc_span_of(across, last - 1).end * channels;
    float total[channels];
    for (int c = 0; c < channels; c++) total[c] = 0.0f;
    for (int at = begin; at < end; at += LC_CHUNK) {
        const int n = lc_min(LC_CHUNK, end - at);
        lc_sum_rows(plane, stride, rows, at, n, words, sums);
        __syncthreads();
        const int from = lc_max(taps.begin, at / channels), to = lc_min(taps.end, (at + n) / channels);
        for (int s = from; s < to; s++) {
            const float weight = (float)lc_weight_of(taps, s);
            for (int c = 0; c < channels; c++) total[c] += weight * sums[s * channels + c - at];
        }
        __syncthreads();
    }
    const float over = 1.0f / ((float)rows.one * (float)taps.one);
    for (int c = 0; c < channels; c++) level[c] = total[c] * over;
}

LC_INLINE void lc_put(const lc_preprocess_args &a, lc_i64 at, float v) {
    if (a.dtype == LC_F32)
        ((float *)a.out)[at] = v;
    else if (a.dtype == LC_F16)
        ((lc_u16 *)a.out)[at] = lc_to_half(v);
    else
        ((lc_u8 *)a.out)[at] = lc_round(lc_clip(v, 0.0f, 255.0f));
}

// grid: input_w in tiles, input_h; block: LC_TILE
LC_KERNEL lc_preprocess(lc_preprocess_args a) {
    __shared__ float4 words[LC_CHUNK / 4];
    float *const sums = (float *)words;
    const int left = blockIdx.x * LC_TILE - a.x, x = left + threadIdx.x, y = blockIdx.y - a.y;
    const int first = lc_max(left, 0), last = lc_min(left + LC_TILE, a.w);
    float rgb[3] = {0.0f, 0.0f, 0.0f};
    if (y >= 0 && y < a.h && first < last) {
        const lc_axis across = lc_axis_of(2 * a.frame_w, a.w), down = lc_axis_of(2 * a.frame_h, a.h);
        const lc_axis across_half = lc_axis_of(a.frame_w, a.w), down_half = lc_axis_of(a.frame_h, a.h);
        const lc_planes &in = a.in;
        float v[4];
        if (a.format == LC_BGR || a.format == LC_RGB)
            lc_resize<3>(in.at[0], in.stride[0], across, down, x, y, first, last, a.words, sums, v);
        else if (a.format == LC_BGRA || a.format == LC_RGBA)
            lc_resize<4>(in.at[0], in.stride[0], across, down, x, y, first, last, a.words, sums, v);
        else {
            lc_resize<1>(in.at[0], in.stride[0], across, down, x, y, first, last, a.words, sums, v);
            if (a.format == LC_NV12)
                lc_resize<2>(in.at[1], in.stride[1], across_half, down_half, x, y, first, last, a.words, sums, v + 1);
            else {
                lc_resize<1>(in.at[1], in.stride[1], across_half, down_half, x, y, first, last, a.words, sums, v + 1);
                lc_resize<1>(in.at[2], in.stride[2], across_half, down_half, x, y, first, last, a.words, sums, v + 2);
            }
        }
        const int blue_first = a.format == LC_BGR || a.format == LC_BGRA;
        rgb[0] = v[blue_first ? 2 : 0], rgb[1] = v[1], rgb[2] = v[blue_first ? 0 : 2];
        if (a.format == LC_I420 || a.format == LC_NV12) lc_yuv_to_rgb(a.yuv, v[0], v[1], v[2], rgb);
    }
    const int column = x + a.x, inside = x >= 0 && x < a.w && y >= 0 && y < a.h;
    if (column >= a.input_w) return;
    const lc_i64 pixel = (lc_i64)blockIdx.y * a.input_w + column, plane = (lc_i64)a.input_w * a.input_h;
    for (int c = 0; c < 3; c++) {
        const int k = a.bgr ? 2 - c : c;
        lc_put(a, a.nhwc ? 3 * pixel + k : k * plane + pixel, inside ? rgb[c] * a.scale[c] + a.offset[c] : a.pad[c]);
        if (a.small)
            a.small[blockIdx.y * a.small_stride + 3 * column + c] = lc_round(inside ? rgb[c] : a.pad_small[c]);
    }
}

#endif
