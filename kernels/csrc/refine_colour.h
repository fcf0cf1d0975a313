/* RGB and YUV in fixed point: coefficients by matrix and range. */
#ifndef LIVECUT_REFINE_COLOUR_H
#define LIVECUT_REFINE_COLOUR_H

#include <stdint.h>

/* From RGB: Q15 on 8.7-bit values; y0 is the offset of Y in 8.7 bits, that of U and V is 128.0.
 * To RGB: Q15 of a quarter, on (Y - offset), (U - 128), (V - 128) in 8.7 bits, giving 8.5 bits. */
typedef struct {
    int16_t yr, yg, yb, y0, ur, ug, ub, vr, vg, vb;
    int16_t ry, rv, gu, gv, bu;
} lc_yuv;

static inline int16_t lc_q15(double v) { return (int16_t)(v * 32768 + (v < 0 ? -0.5 : 0.5)); }

static inline lc_yuv lc_yuv_coefficients(int bt601, int full_range) {
    const double kr = bt601 ? 0.299 : 0.2126, kb = bt601 ? 0.114 : 0.0722, kg = 1 - kr - kb;
    const double y = full_range ? 1 : 219.0 / 255, c = full_range ? 1 : 224.0 / 255;
    lc_yuv k;
    k.yr = lc_q15(kr * y), k.yg = lc_q15(kg * y), k.yb = lc_q15(kb * y);
    k.y0 = full_range ? 0 : 16 * 128;
    k.ur = lc_q15(-kr / (2 * (1 - kb)) * c), k.ug = lc_q15(-kg / (2 * (1 - kb)) * c), k.ub = lc_q15(0.5 * c);
    k.vr = lc_q15(0.5 * c), k.vg = lc_q15(-kg / (2 * (1 - kr)) * c), k.vb = lc_q15(-kb / (2 * (1 - kr)) * c);
    k.ry = lc_q15(1 / y / 4), k.rv = lc_q15(2 * (1 - kr) / c / 4), k.bu = lc_q15(2 * (1 - kb) / c / 4);
    k.gu = lc_q15(-2 * (1 - kb) * kb / kg / c / 4), k.gv = lc_q15(-2 * (1 - kr) * kr / kg / c / 4);
    return k;
}

#endif
