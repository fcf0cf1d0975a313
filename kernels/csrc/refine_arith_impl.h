/* Fixed-point arithmetic. Included once per instruction set. */

/* (a * b + 2^14) >> 15, the multiplication of Q15 numbers; the form that compilers know as one instruction. */
static inline int16_t LC_NAME(mul15)(int16_t a, int16_t b) {
    return (int16_t)(((((int32_t)a * b) >> 14) + 1) >> 1);
}
