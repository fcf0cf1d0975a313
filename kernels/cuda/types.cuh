// Words, argument blocks and small helpers. Nothing is included: NVRTC brings no headers.
//
// Every kernel takes one argument block by value. arguments.py repeats each block field by field, and a test compares
// their layouts; pointers and strides (in bytes) come first, so that neither side pads.
#ifndef LIVECUT_TYPES_CUH
#define LIVECUT_TYPES_CUH

typedef unsigned char lc_u8;
typedef unsigned short lc_u16;
typedef unsigned int lc_u32;
typedef long long lc_i64;

#define LC_KERNEL extern "C" __global__ void
#define LC_INLINE static __device__ __forceinline__
#define LC_UNROLL _Pragma("unroll")  // where an array that is indexed by the loop has to stay in registers

enum { LC_BGR, LC_RGB, LC_BGRA, LC_RGBA, LC_I420, LC_NV12, LC_ALPHA, LC_YUVA420 };
enum { LC_NO_BACKGROUND, LC_COLOUR, LC_PACKED, LC_PLANES, LC_BLURRED };
enum { LC_F32, LC_F16, LC_U8 };
enum { LC_NOT_FINITE = 1, LC_OUT_OF_RANGE = 2 };  // bits of *status
enum { LC_TILE = 128, LC_CHUNK = 3072 };          // preprocess: columns of a block, samples it holds at a time
enum { LC_GRID_X = 32, LC_GRID_Y = 8 };           // threads of a block of the other kernels
enum { LC_NEAR = 8 };                             // largest radius whose cells a block keeps in shared memory

struct lc_planes {
    lc_u8 *at[4];
    lc_i64 stride[4];
};

struct lc_preprocess_args {
    lc_planes in;
    void *out;
    lc_u8 *small;  // null where no guide is wanted
    lc_i64 small_stride;
    int format, frame_w, frame_h, input_w, input_h;
    int x, y, w, h;               // where the frame lies in the input
    int dtype, nhwc, bgr;         // of out
    int words;                    // whether every row of the frame may be read in words of four bytes
    float scale[3], offset[3];    // of R, G, B: out = level * scale + offset
    float pad[3], pad_small[3];   // R, G, B of the padding, in out and as levels
    float yuv[6];                 // see lc_yuv_to_rgb
};

struct lc_small_args {
    const void *alpha;  // under the frame: padding is left out
    lc_i64 alpha_stride;
    const lc_u8 *small;
    lc_i64 small_stride;
    float *slope;         // [rh][rw]
    float4 *coefficients; // [rh][rw]: A, B, low, high
    float4 *rows;         // [fh][fw][2]: sums along rows, of the foreground and of the background
    float4 *colours;      // [fh][fw][2]: foreground, background
    lc_u32 *status;       // null where nobody asks
    int alpha_half, rw, rh, fw, fh;
    int refine, decontaminate, radius, fusion_radius;
    int luma[3];          // weights of R, G, B, in 128ths
    int guide_blocks;     // blocks of the guide; those after it work on the colours
    float eps, slack;
    float to_yuv[12];     // three rows of R, G, B, 1; used where colours_yuv
    int colours_yuv;
};

struct lc_smooth_args {
    const void *alpha;
    lc_i64 alpha_stride;
    const lc_u8 *small;
    lc_i64 small_stride;
    float *out;             // [h][w]
    float *previous;        // [h][w]: what was put out for the frame before
    lc_u8 *luma;            // [h][w] of the frame before
    lc_u32 *seen;           // 0 before the first frame of a stream
    lc_u32 *status;
    int alpha_half, w, h;
    float base, still, moving, steady, jump, slack;
};

struct lc_composite_args {
    lc_planes in, out, background;
    const lc_u8 *input_alpha;  // null where there is none
    lc_i64 input_alpha_stride;
    const float4 *coefficients, *colours;
    const float4 *blurred;     // [rh][rw]: R, G, B
    int in_format, out_format, background_kind;
    int width, height, rw, rh, fw, fh;
    int decontaminate;
    int in_words, out_words, background_words;  // whether rows may be read, or written, in words
    float colour[3];           // R, G, B; Y, U, V for I420
    float luma[3];             // weights of R, G, B that give 0..1
    float guide_scale, guide_offset;  // of Y
    float yuv[6], to_yuv[12];
};

struct lc_blur_args {
    const lc_u8 *small;        // null after the first pass
    lc_i64 small_stride;
    const float4 *from;
    float4 *to;
    int rw, rh, radius, down;  // down: along columns
};

struct lc_over_args {
    const lc_u8 *image, *background, *alpha;
    lc_u8 *out;
    lc_i64 image_stride, background_stride, alpha_stride, out_stride;
    int width, height;
};

LC_INLINE int lc_min(int a, int b) { return a < b ? a : b; }
LC_INLINE int lc_max(int a, int b) { return a > b ? a : b; }
LC_INLINE int lc_clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }
LC_INLINE float lc_lerp(float a, float b, float weight) { return a + weight * (b - a); }
LC_INLINE float lc_clip(float v, float low, float high) { return fminf(fmaxf(v, low), high); }

LC_INLINE float4 lc_four(float x, float y, float z, float w) {
    float4 v;
    v.x = x, v.y = y, v.z = z, v.w = w;
    return v;
}

LC_INLINE float4 lc_lerp4(float4 a, float4 b, float weight) {
    return lc_four(lc_lerp(a.x, b.x, weight), lc_lerp(a.y, b.y, weight), lc_lerp(a.z, b.z, weight),
                   lc_lerp(a.w, b.w, weight));
}

// The nearest level; values lie within 0..255.
LC_INLINE lc_u8 lc_round(float v) { return (lc_u8)(int)rintf(v); }

// yuv: scale and offset of Y, then Cr to R, Cb to G, Cr to G, Cb to B; chroma around 0.
LC_INLINE void lc_yuv_to_rgb(const float *yuv, float y, float u, float v, float *rgb) {
    const float luma = y * yuv[0] + yuv[1], cb = u - 128.0f, cr = v - 128.0f;
    rgb[0] = lc_clip(luma + yuv[2] * cr, 0.0f, 255.0f);
    rgb[1] = lc_clip(luma + yuv[3] * cb + yuv[4] * cr, 0.0f, 255.0f);
    rgb[2] = lc_clip(luma + yuv[5] * cb, 0.0f, 255.0f);
}

// Row c of to_yuv: 0 is Y, 1 is U, 2 is V.
LC_INLINE float lc_rgb_to(const float *to_yuv, int c, const float *rgb) {
    const float *k = to_yuv + 4 * c;
    return k[0] * rgb[0] + k[1] * rgb[1] + k[2] * rgb[2] + k[3];
}

#ifdef __CUDACC__
#define LC_DYNAMIC_SHARED(type, name) extern __shared__ type name[]

LC_INLINE lc_u16 lc_to_half(float v) {
    lc_u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
}

LC_INLINE float lc_from_half(lc_u16 bits) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
    return v;
}
#endif  // the host's are in emulate.h

// Element x of a row of the network's alpha.
LC_INLINE float lc_raw_alpha(const void *row, int half, int x) {
    return half ? lc_from_half(((const lc_u16 *)row)[x]) : ((const float *)row)[x];
}

// 0..1; NaN counts as 0.
LC_INLINE float lc_unit(float v) {
    v = v > 0.0f ? v : 0.0f;
    return v < 1.0f ? v : 1.0f;
}

// Tell the host of values that no alpha has.
LC_INLINE void lc_note(lc_u32 *status, float v, float slack) {
    if (!status || (v >= -slack && v <= 1.0f + slack)) return;
    atomicOr(status, v - v == 0.0f ? LC_OUT_OF_RANGE : LC_NOT_FINITE);
}

#endif
