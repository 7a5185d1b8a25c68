/* h_t = a_t * h_{t-1} + b_t over the middle axis of (L, T, N), and its adjoint.
 *
 * a is (L, T, N), or (L, T, 1) with shared = 1, and has strides of its own (a_lead, a_time), zero where it is
 * broadcast. With reverse the last step is the first. Each thread takes some columns of some leads and runs along
 * the time axis. */
#include "real.h"

enum { COLUMNS = 512 }; /* of one task: enough to stream, few enough that the state stays in the first cache */

EXPORT(scan)(const real *restrict a, const real *restrict b, const real *restrict initial, real *restrict h,
             int64_t L, int64_t T, int64_t N, int64_t a_lead, int64_t a_time, int64_t shared, int64_t reverse,
             int64_t threads) {
    int64_t blocks = (N + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : L * T * N > 8192)
    for (int64_t task = 0; task < L * blocks; task++) {
        int64_t l = task / blocks, first = task % blocks * COLUMNS, n = MIN(COLUMNS, N - first);
        const real *before = initial + l * N + first;
        for (int64_t step = 0; step < T; step++) {
            int64_t t = reverse ? T - 1 - step : step;
            const real *at = a + l * a_lead + t * a_time + (shared ? 0 : first);
            const real *bt = b + (l * T + t) * N + first;
            real *ht = h + (l * T + t) * N + first;
            if (shared) {
                real factor = *at;
                SIMD for (int64_t i = 0; i < n; i++) ht[i] = factor * before[i] + bt[i];
            } else {
                SIMD for (int64_t i = 0; i < n; i++) ht[i] = at[i] * before[i] + bt[i];
            }
            before = ht;
        }
    }
}

/* g_t = grad_t + a_{t+1} g_{t+1}, from the last step to the first; grad_a_t = g_t h_{t-1}, summed over the columns
 * if shared. grad_a may be null. */
EXPORT(scan_backward)(const real *restrict a, const real *restrict grad, const real *restrict h,
                      const real *restrict initial, real *restrict g, real *restrict grad_a, int64_t L, int64_t T,
                      int64_t N, int64_t a_lead, int64_t a_time, int64_t shared, int64_t reverse, int64_t threads) {
    /* with a shared factor one task takes whole rows, so that their sum has one owner */
    int64_t width = shared ? MAX(N, 1) : COLUMNS, blocks = (N + width - 1) / width, forth = reverse ? -1 : 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : L * T * N > 8192)
    for (int64_t task = 0; task < L * blocks; task++) {
        int64_t l = task / blocks, first = task % blocks * width, n = MIN(width, N - first);
        for (int64_t step = T - 1; step >= 0; step--) {
            int64_t t = reverse ? T - 1 - step : step, row = (l * T + t) * N + first;
            const real *grad_t = grad + row, *before = step ? h + row - forth * N : initial + l * N + first;
            const real *later = g + row + forth * N;
            const real *factor = a + l * a_lead + (t + forth) * a_time + (shared ? 0 : first);
            real *gt = g + row;
            if (step == T - 1) {
                memcpy(gt, grad_t, n * sizeof(real));
            } else if (shared) {
                real same = *factor;
                SIMD for (int64_t i = 0; i < n; i++) gt[i] = grad_t[i] + same * later[i];
            } else {
                SIMD for (int64_t i = 0; i < n; i++) gt[i] = grad_t[i] + factor[i] * later[i];
            }
            if (!grad_a) continue;
            if (shared) {
                real sum = 0;
#pragma omp simd reduction(+ : sum)
                for (int64_t i = 0; i < n; i++) sum += gt[i] * before[i];
                grad_a[l * T + t] = sum;
            } else {
                real *out = grad_a + row;
                SIMD for (int64_t i = 0; i < n; i++) out[i] = gt[i] * before[i];
            }
        }
    }
}
