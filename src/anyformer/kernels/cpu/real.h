/* Included by every kernel. Each file is compiled twice, for float and for double, and its exported functions
 * end in _f32 or _f64. Sizes are int64_t, tensors are contiguous unless strides are given. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef REAL_f32
typedef float real;
#define EXPORTED_NAME(name) name##_f32
#else
typedef double real;
#define EXPORTED_NAME(name) name##_f64
#endif

#ifdef _MSC_VER
#define EXPORT(name) __declspec(dllexport) void EXPORTED_NAME(name)
#define restrict __restrict
#else
#define EXPORT(name) __attribute__((visibility("default"))) void EXPORTED_NAME(name)
#endif

#define SIMD _Pragma("omp simd")
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* The first address on the boundary of a cache line. */
static inline real *aligned(void *memory) { return (real *)(((uintptr_t)memory + 63) & ~(uintptr_t)63); }

/* exp without branches or calls, so that loops over it become vector code. Relative error below 2 ulp; zero below
 * the smallest normal number, infinity above the largest. NaN stays NaN. */
#ifdef REAL_f32
/* p in exp(z) = p 2^n, with the integer n in the low bits of `bits`. */
static inline real exp_parts(real z, int32_t *bits) {
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
    float rounded = z * 1.44269504088896341f + shift;
    memcpy(bits, &rounded, 4);
    float n = rounded - shift;
    float r = z - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r + 1.0f;
}

static inline real fast_exp(real x) {
    float z = x < -87.3f ? -87.3f : x;
    int32_t bits;
    float p = exp_parts(z > 88.7f ? 88.7f : z, &bits);
    /* times 2^n: n is in the low bits, the rest of the constant's bits leave on the left. n = 128 comes with p < 1 */
    int32_t exponent;
    memcpy(&exponent, &p, 4);
    exponent += (int32_t)((uint32_t)bits << 23);
    memcpy(&p, &exponent, 4);
    p = x < -87.3f ? 0.0f : p;
    p = x > 88.7f ? INFINITY : p;
    return x != x ? x : p;
}
#else
static inline real fast_exp(real x) {
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    double z = x < -708.0 ? -708.0 : x;
    z = z > 709.7 ? 709.7 : z;
    double rounded = z * 1.44269504088896340736 + shift;
    int64_t bits;
    memcpy(&bits, &rounded, 8);
    double n = rounded - shift;
    double r = z - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0; /* Taylor to r^13 / 13!: below 2^-53 for |r| <= ln(2) / 2 */
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    int64_t exponent;
    memcpy(&exponent, &p, 8);
    exponent += (int64_t)((uint64_t)bits << 52);
    memcpy(&p, &exponent, 8);
    p = x < -708.0 ? 0.0 : p;
    p = x > 709.7 ? INFINITY : p;
    return x != x ? x : p;
}
#endif
