/* Small matrix products on buffers whose widths are multiples of PAD: what the chunked recurrences are made of.
 * Tiles have compile-time sizes, so that their sums stay in vector registers. */
#pragma once
#include "rows.h"

#if defined(__AVX512F__)
enum { LANES = 64 / sizeof(real), WIDE = 4 * LANES, DOT_ROWS = 4 };
#elif defined(__AVX__)
enum { LANES = 32 / sizeof(real), WIDE = 2 * LANES, DOT_ROWS = 2 };
#else
enum { LANES = 16 / sizeof(real), WIDE = 2 * LANES, DOT_ROWS = 2 };
#endif
enum { PAD = LANES > 8 ? LANES : 8, DOT_COLUMNS = 4, FOLDED = LANES < 4 ? LANES : 4 };

/* Zeroed memory for `size` numbers, on a cache line; a process that has none left ends here. */
static real *allocate(int64_t size) {
    char *block = calloc(size * sizeof(real) + 128, 1);
    if (!block) abort();
    char *aligned = block + 64 - (uintptr_t)block % 64 + 64;
    memcpy(aligned - sizeof(block), &block, sizeof(block));
    return (real *)aligned;
}

static void release(real *memory) {
    char *block;
    memcpy(&block, (char *)memory - sizeof(block), sizeof(block));
    free(block);
}

static inline int64_t padded(int64_t n) { return (n + PAD - 1) / PAD * PAD; }

/* out (ROWS, WIDTH) = a b, added to what is there if add; a (ROWS, R) has strides, b and out only rows of a length. */
#define TILE(NAME, ROWS, WIDTH)                                                                                 \
    static void NAME(real *restrict out, int64_t out_row, const real *restrict a, int64_t a_row, int64_t a_col,   \
                     const real *restrict b, int64_t b_row, int64_t R, int add) {                                \
        real sum[ROWS][WIDTH];                                                                                   \
        for (int m = 0; m < ROWS; m++) SIMD for (int n = 0; n < WIDTH; n++) sum[m][n] = 0;                       \
        for (int64_t r = 0; r < R; r++) {                                                                        \
            const real *row = b + r * b_row;                                                                     \
            for (int m = 0; m < ROWS; m++) {                                                                     \
                real factor = a[m * a_row + r * a_col];                                                          \
                SIMD for (int n = 0; n < WIDTH; n++) sum[m][n] += factor * row[n];                               \
            }                                                                                                    \
        }                                                                                                        \
        for (int m = 0; m < ROWS; m++) {                                                                         \
            real *row = out + m * out_row;                                                                       \
            if (add) {                                                                                           \
                SIMD for (int n = 0; n < WIDTH; n++) row[n] += sum[m][n];                                        \
            } else {                                                                                             \
                SIMD for (int n = 0; n < WIDTH; n++) row[n] = sum[m][n];                                         \
            }                                                                                                    \
        }                                                                                                        \
    }
TILE(tile_wide, 4, WIDE)
TILE(tile_narrow, 8, LANES)

/* out (M, N) = a b, or added to it; M and N are multiples of 8 and PAD, b and out have rows of N. */
static void product(real *restrict out, const real *restrict a, int64_t a_row, int64_t a_col, const real *restrict b,
                    int64_t M, int64_t R, int64_t N, int add) {
    int64_t n = 0;
    for (; n + WIDE <= N; n += WIDE)
        for (int64_t m = 0; m < M; m += 4)
            tile_wide(out + m * N + n, N, a + m * a_row, a_row, a_col, b + n, N, R, add);
    for (; n < N; n += LANES)
        for (int64_t m = 0; m < M; m += 8)
            tile_narrow(out + m * N + n, N, a + m * a_row, a_row, a_col, b + n, N, R, add);
}

/* out[m * out_row + n] = the inner product of row m of a and row n of b, for n <= m (lower) or all; rows of length
 * `length`, M and N multiples of 4. What is above the diagonal of lower is left or garbage. Sixteen sums at a time are
 * folded to few lanes before they are added up, which vectors can't do well one by one. */
static void products_of_rows(real *restrict out, int64_t out_row, const real *restrict a, const real *restrict b,
                             int64_t M, int64_t N, int64_t length, int lower) {
    for (int64_t n = 0; n < N; n += DOT_COLUMNS) {
        for (int64_t m = lower ? n : 0; m < M; m += DOT_ROWS) {
            real sum[DOT_ROWS][DOT_COLUMNS][LANES];
            for (int i = 0; i < DOT_ROWS; i++)
                for (int j = 0; j < DOT_COLUMNS; j++) SIMD for (int l = 0; l < LANES; l++) sum[i][j][l] = 0;
            for (int64_t c = 0; c < length; c += LANES)
                for (int i = 0; i < DOT_ROWS; i++)
                    for (int j = 0; j < DOT_COLUMNS; j++) {
                        const real *x = a + (m + i) * length + c, *y = b + (n + j) * length + c;
                        SIMD for (int l = 0; l < LANES; l++) sum[i][j][l] += x[l] * y[l];
                    }
            real folded[DOT_ROWS][DOT_COLUMNS][FOLDED];
            for (int i = 0; i < DOT_ROWS; i++)
                for (int j = 0; j < DOT_COLUMNS; j++) {
                    real *part = sum[i][j];
                    for (int width = LANES / 2; width >= FOLDED; width /= 2)
                        SIMD for (int l = 0; l < width; l++) part[l] += part[l + width];
                    SIMD for (int l = 0; l < FOLDED; l++) folded[i][j][l] = part[l];
                }
            for (int i = 0; i < DOT_ROWS; i++)
                SIMD for (int j = 0; j < DOT_COLUMNS; j++) {
                    real total = 0;
                    for (int l = 0; l < FOLDED; l++) total += folded[i][j][l];
                    out[(m + i) * out_row + n + j] = total;
                }
        }
    }
}
