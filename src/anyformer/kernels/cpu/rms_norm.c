/* y = x / sqrt(mean(x^2) + eps) * weight over the rows of (M, N), and its adjoint. weight may be null,
 * and scale, which gets the factor of each row. */
#include "real.h"

#define SUM _Pragma("omp simd reduction(+ : sum)")

EXPORT(rms_norm)(const real *restrict x, const real *restrict weight, real *restrict y, real *restrict scale,
                 int64_t M, int64_t N, double eps, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : M * N > 16384)
    for (int64_t m = 0; m < M; m++) {
        const real *row = x + m * N;
        real *out = y + m * N, sum = 0;
        SUM for (int64_t i = 0; i < N; i++) sum += row[i] * row[i];
        real factor = 1 / (real)sqrt((double)(sum / N) + eps);
        if (scale) scale[m] = factor;
        if (weight) {
            SIMD for (int64_t i = 0; i < N; i++) out[i] = row[i] * factor * weight[i];
        } else {
            SIMD for (int64_t i = 0; i < N; i++) out[i] = row[i] * factor;
        }
    }
}

/* With u = grad * weight and s = scale: grad_x = s u - s^3 x mean(u x). The rows are cut into P parts, and part p
 * leaves its share of the weight's gradient in row p of grad_weight (P, N), which is null where weight is. */
EXPORT(rms_norm_backward)(const real *restrict x, const real *restrict weight, const real *restrict scale,
                          const real *restrict grad, real *restrict grad_x, real *restrict grad_weight, int64_t M,
                          int64_t N, int64_t P, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : M * N > 16384)
    for (int64_t p = 0; p < P; p++) {
        real *share = weight ? grad_weight + p * N : 0;
        if (weight) memset(share, 0, N * sizeof(real));
        for (int64_t m = M * p / P; m < M * (p + 1) / P; m++) {
            const real *row = x + m * N, *g = grad + m * N;
            real *out = grad_x + m * N, s = scale[m], sum = 0;
            if (weight) {
                SUM for (int64_t i = 0; i < N; i++) sum += g[i] * weight[i] * row[i];
                real c = s * s * s * (sum / N);
                SIMD for (int64_t i = 0; i < N; i++) {
                    out[i] = s * g[i] * weight[i] - c * row[i];
                    share[i] += g[i] * row[i] * s;
                }
            } else {
                SUM for (int64_t i = 0; i < N; i++) sum += g[i] * row[i];
                real c = s * s * s * (sum / N);
                SIMD for (int64_t i = 0; i < N; i++) out[i] = s * g[i] - c * row[i];
            }
        }
    }
}
