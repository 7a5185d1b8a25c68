/* Small matrix products, kept in registers: c (ROW_GROUP, N) = or += a (ROW_GROUP, M) b (M, N).
 *
 * a has strides of its own, so that a transposed matrix costs nothing; b and c have rows of N elements and more. N is
 * a multiple of LANES. With constant bounds and everything unrolled, compilers hold `sum` in vector registers. */
#pragma once
#include "real.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, ROW_GROUP = 8 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, ROW_GROUP = 4 };
#else
enum { VECTOR_BYTES = 16, ROW_GROUP = 4 };
#endif
enum { LANES = VECTOR_BYTES / sizeof(real) };

#ifdef __GNUC__
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

#define MULTIPLY_COLUMNS(name, WIDTH)                                                                           \
    static inline void name(int64_t M, const real *restrict a, int64_t a_row, int64_t a_column,                 \
                            const real *restrict b, int64_t b_row, real *restrict c, int64_t c_row, int add) {  \
        real sum[ROW_GROUP][WIDTH];                                                                             \
        UNROLL for (int r = 0; r < ROW_GROUP; r++) {                                                            \
            SIMD for (int l = 0; l < (WIDTH); l++) sum[r][l] = add ? c[r * c_row + l] : 0;                      \
        }                                                                                                       \
        for (int64_t m = 0; m < M; m++) {                                                                       \
            UNROLL for (int r = 0; r < ROW_GROUP; r++) {                                                        \
                real x = a[r * a_row + m * a_column];                                                           \
                SIMD for (int l = 0; l < (WIDTH); l++) sum[r][l] += x * b[m * b_row + l];                       \
            }                                                                                                   \
        }                                                                                                       \
        UNROLL for (int r = 0; r < ROW_GROUP; r++) {                                                            \
            SIMD for (int l = 0; l < (WIDTH); l++) c[r * c_row + l] = sum[r][l];                                \
        }                                                                                                       \
    }
MULTIPLY_COLUMNS(multiply_two, 2 * LANES)
MULTIPLY_COLUMNS(multiply_one, LANES)

static inline void multiply(int64_t M, int64_t N, const real *restrict a, int64_t a_row, int64_t a_column,
                            const real *restrict b, int64_t b_row, real *restrict c, int64_t c_row, int add) {
    int64_t n = 0;
    for (; n + 2 * LANES <= N; n += 2 * LANES) {
        multiply_two(M, a, a_row, a_column, b + n, b_row, c + n, c_row, add);
    }
    if (n < N) multiply_one(M, a, a_row, a_column, b + n, b_row, c + n, c_row, add);
}

/* The same, added to c, where a zero in a skips the row of b, even NaN and infinity. Slow. */
static inline void multiply_careful(int64_t M, int64_t N, const real *restrict a, int64_t a_row, int64_t a_column,
                                    const real *restrict b, int64_t b_row, real *restrict c, int64_t c_row) {
    for (int r = 0; r < ROW_GROUP; r++) {
        for (int64_t m = 0; m < M; m++) {
            real x = a[r * a_row + m * a_column];
            if (x == 0) continue;
            SIMD for (int64_t n = 0; n < N; n++) c[r * c_row + n] += x * b[m * b_row + n];
        }
    }
}
