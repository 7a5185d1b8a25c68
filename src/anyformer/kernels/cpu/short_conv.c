/* A causal convolution of each channel, y_t = f(bias + sum_i taps_i x_{t - (W - 1) + i}), f nothing or silu.
 *
 * x is (B, T, D) with strides of its own over B and T; past (B, W - 1, D), what came before it, may be null for zeros;
 * taps are (W, D), bias (D) may be null. A task takes some tokens of one sample. */
#include "real.h"

enum { LANES = 256 / sizeof(real), VECTOR = 64 / sizeof(real) };

struct input {
    const real *x, *past; /* of one sample */
    int64_t x_time, W, D;
};

/* The row of inputs s tokens after the first, which may be before it; null where it is zero. */
static inline const real *row_of(struct input in, int64_t s) {
    if (s >= 0) return in.x + s * in.x_time;
    return in.past ? in.past + (s + in.W - 1) * in.D : NULL;
}

/* The sums of one token for some channels, the n from `first`. */
static inline void convolve(struct input in, const real *restrict taps, const real *restrict bias, int64_t t,
                            int64_t first, int64_t n, real *restrict sums) {
    for (int64_t j = 0; j < LANES; j++) sums[j] = 0;
    if (bias) memcpy(sums, bias + first, n * sizeof(real));
    for (int64_t i = 0; i < in.W; i++) {
        const real *row = row_of(in, t - (in.W - 1) + i), *tap = taps + i * in.D + first;
        if (!row) continue;
        row += first;
        if (n == LANES) {
            SIMD for (int64_t j = 0; j < LANES; j++) sums[j] += tap[j] * row[j];
        } else {
            SIMD for (int64_t j = 0; j < n; j++) sums[j] += tap[j] * row[j];
        }
    }
}

EXPORT(short_conv)(const real *restrict x, const real *restrict past, const real *restrict taps,
                   const real *restrict bias, real *restrict y, int64_t B, int64_t T, int64_t D, int64_t W,
                   int64_t x_batch, int64_t x_time, int64_t silu, int64_t tokens, int64_t threads) {
    int64_t parts = (T + tokens - 1) / tokens;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D > 8192)
    for (int64_t task = 0; task < B * parts; task++) {
        int64_t b = task / parts, begin = task % parts * tokens, end = MIN(begin + tokens, T);
        struct input in = {x + b * x_batch, past ? past + b * (W - 1) * D : NULL, x_time, W, D};
        for (int64_t t = begin; t < end; t++) {
            real *restrict out = y + (b * T + t) * D;
            for (int64_t first = 0; first < D; first += LANES) {
                int64_t n = MIN(LANES, D - first);
                real sums[LANES];
                convolve(in, taps, bias, t, first, n, sums);
                if (silu) {
                    SIMD for (int64_t j = 0; j < LANES; j++) sums[j] /= 1 + fast_exp(-sums[j]);
                }
                memcpy(out + first, sums, (n == LANES ? LANES : n) * sizeof(real));
            }
        }
    }
}

/* The gradients of the sums of one part and of the W - 1 tokens behind it, [token][LANES]. */
static void grad_of_sums(struct input in, const real *restrict grad, const real *restrict taps,
                         const real *restrict bias, int64_t begin, int64_t end, int64_t first, int64_t n, int64_t silu,
                         real *restrict out) {
    for (int64_t t = begin; t < end; t++, out += LANES) {
        for (int64_t j = 0; j < LANES; j++) out[j] = 0;
        memcpy(out, grad + t * in.D + first, (n == LANES ? LANES : n) * sizeof(real));
        if (!silu) continue;
        real sums[LANES];
        convolve(in, taps, bias, t, first, n, sums);
        SIMD for (int64_t j = 0; j < LANES; j++) {
            real gate = 1 / (1 + fast_exp(-sums[j]));
            out[j] *= gate * (1 + sums[j] * (1 - gate));
        }
    }
}

/* grad_taps (parts of all samples, W, D) and grad_bias (parts of all samples, D), or null, are to be summed over the
 * parts; grad_past may be null. */
EXPORT(short_conv_backward)(const real *restrict grad, const real *restrict x, const real *restrict past,
                            const real *restrict taps, const real *restrict bias, real *restrict grad_x,
                            real *restrict grad_past, real *restrict grad_taps, real *restrict grad_bias, int64_t B,
                            int64_t T, int64_t D, int64_t W, int64_t x_batch, int64_t x_time, int64_t silu,
                            int64_t tokens, int64_t threads) {
    int64_t parts = (T + tokens - 1) / tokens;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D > 8192)
    for (int64_t task = 0; task < B * parts; task++) {
        int64_t b = task / parts, begin = task % parts * tokens, end = MIN(begin + tokens, T);
        int64_t behind = MIN(end + W - 1, T), from = begin || !grad_past ? begin : 1 - W;
        struct input in = {x + b * x_batch, past ? past + b * (W - 1) * D : NULL, x_time, W, D};
        real *sums = malloc((tokens + W - 1) * LANES * sizeof(real)); /* gradients of the sums */
        for (int64_t first = 0; first < D; first += LANES) {
            int64_t n = MIN(LANES, D - first);
            grad_of_sums(in, grad + b * T * D, taps, bias, begin, behind, first, n, silu, sums);
            for (int64_t i = 0; i < W; i++) {
                real total[LANES] = {0};
                for (int64_t t = begin; t < end; t++) {
                    const real *row = row_of(in, t - (W - 1) + i), *g = sums + (t - begin) * LANES;
                    if (!row) continue;
                    row += first;
                    if (n == LANES) {
                        SIMD for (int64_t j = 0; j < LANES; j++) total[j] += g[j] * row[j];
                    } else {
                        SIMD for (int64_t j = 0; j < n; j++) total[j] += g[j] * row[j];
                    }
                }
                memcpy(grad_taps + (task * W + i) * D + first, total, n * sizeof(real));
            }
            if (grad_bias) {
                real total[LANES] = {0};
                for (int64_t t = 0; t < end - begin; t++)
                    SIMD for (int64_t j = 0; j < LANES; j++) total[j] += sums[t * LANES + j];
                memcpy(grad_bias + task * D + first, total, n * sizeof(real));
            }
            for (int64_t s = from; s < end; s++) {
                real total[LANES] = {0};
                for (int64_t i = MAX(0, s + W - behind); i < W && s + W - 1 - i >= begin; i++) {
                    const real *g = sums + (s + W - 1 - i - begin) * LANES, *tap = taps + i * D + first;
                    if (n == LANES) {
                        SIMD for (int64_t j = 0; j < LANES; j++) total[j] += tap[j] * g[j];
                    } else {
                        SIMD for (int64_t j = 0; j < n; j++) total[j] += tap[j] * g[j];
                    }
                }
                real *out = s >= 0 ? grad_x + (b * T + s) * D : grad_past + (b * (W - 1) + s + W - 1) * D;
                memcpy(out + first, total, (n == LANES ? LANES : n) * sizeof(real));
            }
        }
        free(sums);
    }
}
