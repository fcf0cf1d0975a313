/* Byte indices of the shuffles, filled once when the module is imported. */
#ifndef LIVECUT_REFINE_TABLES_H
#define LIVECUT_REFINE_TABLES_H

#include <stdint.h>

typedef struct {
    uint8_t split3[3][64], split3_rest[3][64], join3[3][64], join3_third[3][64], split4[3][64];
    uint64_t split3_mask[3], join3_mask[3];
    uint8_t split16[3][3][16], join16[3][3][16]; /* 255 where the byte comes from elsewhere */
    int16_t spread3[3][2][32]; /* alphas of the low and high halves of each lane of the k-th 64 bytes of 64 pixels */
    uint8_t spread16[3][2][16]; /* the same as bytes, for the k-th 16 bytes of 16 pixels */
} lc_shuffles;

static lc_shuffles lc_shuffle_tables;

static void lc_fill_shuffle_tables(void) {
    lc_shuffles *t = &lc_shuffle_tables;
    for (int c = 0; c < 3; c++) {
        t->split3_mask[c] = t->join3_mask[c] = 0;
        for (int i = 0; i < 64; i++) {
            const int from = 3 * i + c, byte = 64 * c + i;
            t->split3[c][i] = (uint8_t)(from & 127);
            t->split3_rest[c][i] = (uint8_t)(from & 63);
            if (from >= 128) t->split3_mask[c] |= 1ull << i;
            t->join3[c][i] = (uint8_t)(byte / 3 + (byte % 3 == 1 ? 64 : 0));
            t->join3_third[c][i] = (uint8_t)(byte / 3);
            if (byte % 3 == 2) t->join3_mask[c] |= 1ull << i;
            t->split4[c][i] = (uint8_t)((4 * i + c) & 127);
        }
        for (int part = 0; part < 3; part++)
            for (int i = 0; i < 16; i++) {
                const int from = 3 * i + c, byte = 16 * c + i;
                t->split16[c][part][i] = from / 16 == part ? (uint8_t)(from % 16) : 255;
                t->join16[c][part][i] = byte % 3 == part ? (uint8_t)(byte / 3) : 255;
            }
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 16; i++) {
                const int byte = 16 * c + 8 * half + i / 2;
                t->spread16[c][half][i] = (uint8_t)(2 * (byte / 3 - 16 * c / 3) + i % 2);
            }
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 32; i++) {
                const int byte = 64 * c + 16 * (i / 8) + 8 * half + i % 8;
                t->spread3[c][half][i] = (int16_t)(byte / 3 - 64 * c / 3);
            }
    }
}

#endif
