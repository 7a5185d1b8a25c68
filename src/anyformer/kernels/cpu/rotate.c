/* Channels i and i + K/2 of x (B, T, H, K) turn by the angle of their token and pair. The last axis is contiguous;
 * x and y have strides of their own for B, T, H. cos and sin are (B, T, K/2), or (T, K/2) where angle_batch is 0. With
 * sign = -1 they turn back, which is the adjoint. */
#include "real.h"

EXPORT(rotate)(const real *restrict x, const real *restrict cos, const real *restrict sin, real *restrict y, int64_t B,
               int64_t T, int64_t H, int64_t half, int64_t x_batch, int64_t x_time, int64_t x_head, int64_t y_batch,
               int64_t y_time, int64_t y_head, int64_t angle_batch, double sign, int64_t threads) {
    real turn = (real)sign;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * H * half > 8192)
    for (int64_t token = 0; token < B * T; token++) {
        int64_t b = token / T, t = token % T;
        const real *c = cos + b * angle_batch + t * half, *s = sin + b * angle_batch + t * half;
        for (int64_t h = 0; h < H; h++) {
            const real *in = x + b * x_batch + t * x_time + h * x_head;
            real *out = y + b * y_batch + t * y_time + h * y_head;
            SIMD for (int64_t i = 0; i < half; i++) {
                real low = in[i], high = in[i + half], across = turn * s[i];
                out[i] = low * c[i] - high * across;
                out[i + half] = high * c[i] + low * across;
            }
        }
    }
}
