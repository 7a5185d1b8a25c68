/* y = silu(gate) * up, and its adjoint, element by element over n of them. */
#include "real.h"

enum { BLOCK = 4096 };

EXPORT(swiglu)(const real *restrict gate, const real *restrict up, real *restrict y, int64_t n, int64_t threads) {
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : n > 16384)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = MIN(n, (b + 1) * BLOCK);
        SIMD for (int64_t i = b * BLOCK; i < end; i++) y[i] = gate[i] / (1 + fast_exp(-gate[i])) * up[i];
    }
}

EXPORT(swiglu_backward)(const real *restrict gate, const real *restrict up, const real *restrict grad,
                        real *restrict grad_gate, real *restrict grad_up, int64_t n, int64_t threads) {
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : n > 16384)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = MIN(n, (b + 1) * BLOCK);
        SIMD for (int64_t i = b * BLOCK; i < end; i++) {
            real open = 1 / (1 + fast_exp(-gate[i])), silu = gate[i] * open;
            grad_up[i] = grad[i] * silu;
            grad_gate[i] = grad[i] * up[i] * (open + silu * (1 - open));
        }
    }
}
