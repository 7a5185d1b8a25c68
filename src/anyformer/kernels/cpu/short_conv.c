/* A causal convolution of each channel, y_t = f(bias + sum_i taps_i x_{t - (W - 1) + i}), f nothing or silu.
 *
 * x is (B, T, D) with strides of its own over B and T; head (B, rows, D) what came before it, W - 1 rows, and then its
 * own first W - 1, so that the window of each token lies in one of the two; taps are (W, D), bias (D) may be null. A
 * task takes some tokens of one sample. */
#include "real.h"

enum { LANES = 256 / sizeof(real), VECTOR = LANES / 4 };

/* out += sum over count rows of a * b, for n channels, at most LANES; four vectors at once hide each other's latency. */
static inline void add_products(const real *a, int64_t a_step, const real *b, int64_t b_step, int64_t count, int64_t n,
                                real *restrict out) {
    if (n < LANES) {
        for (int64_t i = 0; i < count; i++)
            SIMD for (int64_t j = 0; j < n; j++) out[j] += a[i * a_step + j] * b[i * b_step + j];
        return;
    }
    real s0[VECTOR], s1[VECTOR], s2[VECTOR], s3[VECTOR];
    SIMD for (int64_t j = 0; j < VECTOR; j++) {
        s0[j] = out[j], s1[j] = out[VECTOR + j], s2[j] = out[2 * VECTOR + j], s3[j] = out[3 * VECTOR + j];
    }
    for (int64_t i = 0; i < count; i++, a += a_step, b += b_step) {
        SIMD for (int64_t j = 0; j < VECTOR; j++) {
            s0[j] += a[j] * b[j];
            s1[j] += a[VECTOR + j] * b[VECTOR + j];
            s2[j] += a[2 * VECTOR + j] * b[2 * VECTOR + j];
            s3[j] += a[3 * VECTOR + j] * b[3 * VECTOR + j];
        }
    }
    SIMD for (int64_t j = 0; j < VECTOR; j++) {
        out[j] = s0[j], out[VECTOR + j] = s1[j], out[2 * VECTOR + j] = s2[j], out[3 * VECTOR + j] = s3[j];
    }
}

/* A row of n numbers, at most LANES, to another place. */
static inline void put(real *restrict to, const real *restrict from, int64_t n) {
    if (n == LANES)
        memcpy(to, from, LANES * sizeof(real));
    else
        memcpy(to, from, n * sizeof(real));
}

/* One sample's inputs. */
struct input {
    const real *x, *head;
    int64_t x_time, W, D;
};

static inline const real *window(struct input in, int64_t t, int64_t *step) {
    int64_t early = t < in.W - 1;
    *step = early ? in.D : in.x_time;
    return early ? in.head + t * in.D : in.x + (t - (in.W - 1)) * in.x_time;
}

/* The sums of one token for the n channels from `first`; zero behind them. */
static inline void convolve(struct input in, const real *taps, const real *bias, int64_t t, int64_t first, int64_t n,
                            real *restrict sums) {
    int64_t step;
    const real *rows = window(in, t, &step) + first;
    for (int64_t j = 0; j < LANES; j++) sums[j] = 0;
    if (bias) put(sums, bias + first, n);
    add_products(taps + first, in.D, rows, step, in.W, n, sums);
}

EXPORT(short_conv)(const real *restrict x, const real *restrict head, const real *restrict taps,
                   const real *restrict bias, real *restrict y, int64_t B, int64_t T, int64_t D, int64_t W,
                   int64_t x_batch, int64_t x_time, int64_t h_batch, int64_t silu, int64_t tokens, int64_t threads) {
    int64_t parts = (T + tokens - 1) / tokens;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D > 8192)
    for (int64_t task = 0; task < B * parts; task++) {
        int64_t b = task / parts, begin = task % parts * tokens, end = MIN(begin + tokens, T);
        struct input in = {x + b * x_batch, head + b * h_batch, x_time, W, D};
        for (int64_t t = begin; t < end; t++) {
            for (int64_t first = 0; first < D; first += LANES) {
                int64_t n = MIN(LANES, D - first);
                real sums[LANES];
                convolve(in, taps, bias, t, first, n, sums);
                if (silu) {
                    SIMD for (int64_t j = 0; j < LANES; j++) sums[j] /= 1 + fast_exp(-sums[j]);
                }
                put(y + (b * T + t) * D + first, sums, n);
            }
        }
    }
}

/* The gradients of the sums of some tokens, [token][LANES], zero behind the n channels. */
static void grad_of_sums(struct input in, const real *restrict grad, const real *restrict taps,
                         const real *restrict bias, int64_t begin, int64_t end, int64_t first, int64_t n, int64_t silu,
                         real *restrict out) {
    for (int64_t t = begin; t < end; t++, out += LANES) {
        if (n < LANES) memset(out, 0, LANES * sizeof(real));
        put(out, grad + t * in.D + first, n);
        if (!silu) continue;
        real sums[LANES];
        convolve(in, taps, bias, t, first, n, sums);
        SIMD for (int64_t j = 0; j < LANES; j++) {
            real gate = 1 / (1 + fast_exp(-sums[j]));
            out[j] *= gate * (1 + sums[j] * (1 - gate));
        }
    }
}

/* The gradients of taps and bias from the gradients of the sums of the tokens from begin to end. */
static void grad_of_taps(struct input in, const real *restrict sums, int64_t begin, int64_t end, int64_t first,
                         int64_t n, real *restrict grad_taps, real *restrict grad_bias) {
    int64_t early = MAX(begin, MIN(in.W - 1, end)), step;
    for (int64_t i = 0; i < in.W; i++) {
        real total[LANES] = {0};
        for (int64_t from = begin, to = early; from < end; from = to, to = end) {
            const real *rows = window(in, from, &step) + i * step + first;
            add_products(sums + (from - begin) * LANES, LANES, rows, step, to - from, n, total);
        }
        put(grad_taps + i * in.D + first, total, n);
    }
    if (!grad_bias) return;
    real total[LANES] = {0};
    for (int64_t t = 0; t < end - begin; t++)
        SIMD for (int64_t j = 0; j < LANES; j++) total[j] += sums[t * LANES + j];
    put(grad_bias + first, total, n);
}

/* grad_taps (parts of all samples, W, D) and grad_bias (parts of all samples, D), or null, are to be summed over the
 * parts; grad_past (B, W - 1, D), zeros before, may be null. */
EXPORT(short_conv_backward)(const real *restrict grad, const real *restrict x, const real *restrict head,
                            const real *restrict taps, const real *restrict bias, real *restrict grad_x,
                            real *restrict grad_past, real *restrict grad_taps, real *restrict grad_bias, int64_t B,
                            int64_t T, int64_t D, int64_t W, int64_t x_batch, int64_t x_time, int64_t h_batch,
                            int64_t silu, int64_t tokens, int64_t threads) {
    int64_t parts = (T + tokens - 1) / tokens;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D > 8192)
    for (int64_t task = 0; task < B * parts; task++) {
        int64_t b = task / parts, begin = task % parts * tokens, end = MIN(begin + tokens, T);
        struct input in = {x + b * x_batch, head + b * h_batch, x_time, W, D};
        int64_t behind = MIN(end + W - 1, T); /* the last that looks at these tokens */
        real *sums = malloc((tokens + W - 1) * LANES * sizeof(real));
        for (int64_t first = 0; first < D; first += LANES) {
            int64_t n = MIN(LANES, D - first);
            grad_of_sums(in, grad + b * T * D, taps, bias, begin, behind, first, n, silu, sums);
            grad_of_taps(in, sums, begin, end, first, n, grad_taps + task * W * D,
                         grad_bias ? grad_bias + task * D : NULL);
            for (int64_t s = begin || !grad_past ? begin : 1 - W; s < end; s++) {
                /* tap i carries it to token s + W - 1 - i */
                int64_t i = MAX(0, s + W - behind), count = MIN(W, s + W - begin) - i;
                real total[LANES] = {0};
                add_products(taps + i * D + first, D, sums + (s + W - 1 - i - begin) * LANES, -LANES, count, n, total);
                real *out = s >= 0 ? grad_x + (b * T + s) * D : grad_past + (b * (W - 1) + s + W - 1) * D;
                put(out + first, total, n);
            }
        }
        free(sums);
    }
}
