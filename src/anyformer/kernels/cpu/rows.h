/* Rows of numbers, element by element and as a sum. */
#pragma once
#include "real.h"

static inline real inner(const real *restrict a, const real *restrict b, int64_t n) {
    real sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* out += factor * a */
static inline void add_scaled(real *restrict out, real factor, const real *restrict a, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] += factor * a[i];
}

static inline void scale(real *restrict out, real factor, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] *= factor;
}

/* out *= a */
static inline void multiply(real *restrict out, const real *restrict a, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] *= a[i];
}

/* out += a * b */
static inline void add_product(real *restrict out, const real *restrict a, const real *restrict b, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] += a[i] * b[i];
}
