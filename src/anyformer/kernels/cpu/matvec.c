/* y (M, N) = x (M, K) times the transpose of w (N, K), plus bias (N,) unless null, for few rows M.
 *
 * The work is reading w, once. Each thread takes some of its rows, ROWS of them at a time, so that several lines of
 * memory are on their way at once. */
#include "real.h"

enum { ROWS = 4, LANES = 64 / sizeof(real) };

static inline real sum_of(const real *lanes) {
    real sum = 0;
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

static inline void dots(const real *restrict x, const real *restrict w, int64_t K, real *restrict out) {
    real sums[ROWS][LANES] = {{0}};
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        for (int r = 0; r < ROWS; r++) {
            SIMD for (int i = 0; i < LANES; i++) sums[r][i] += x[k + i] * w[r * K + k + i];
        }
    }
    for (int r = 0; r < ROWS; r++) {
        out[r] = sum_of(sums[r]);
        for (int64_t rest = k; rest < K; rest++) out[r] += x[rest] * w[r * K + rest];
    }
}

static inline real dot(const real *restrict x, const real *restrict w, int64_t K) {
    real sums[LANES] = {0}, sum;
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        SIMD for (int i = 0; i < LANES; i++) sums[i] += x[k + i] * w[k + i];
    }
    sum = sum_of(sums);
    for (; k < K; k++) sum += x[k] * w[k];
    return sum;
}

EXPORT(matvec)(const real *restrict x, const real *restrict w, const real *restrict bias, real *restrict y, int64_t M,
               int64_t N, int64_t K, int64_t threads) {
    int64_t blocks = (N + ROWS - 1) / ROWS;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : N * K > 16384)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * ROWS, rows = MIN(ROWS, N - first);
        for (int64_t m = 0; m < M; m++) {
            real out[ROWS];
            if (rows == ROWS) {
                dots(x + m * K, w + first * K, K, out);
            } else {
                for (int64_t r = 0; r < rows; r++) out[r] = dot(x + m * K, w + (first + r) * K, K);
            }
            for (int64_t r = 0; r < rows; r++) y[m * N + first + r] = out[r] + (bias ? bias[first + r] : 0);
        }
    }
}
