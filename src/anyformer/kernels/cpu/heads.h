/* Heads in memory: tensors (B, H, T, width) with strides over (B, H, T) and a contiguous last axis, to and from the
 * rows of chunks. */
#pragma once
#include "matrix_state_backward.h"

typedef struct {
    int64_t B, H, T, K, V, kind, normalize; /* kind of decay; whether values have a last column of ones */
    const int64_t *strides;                 /* over B, H, T, of each tensor in turn */
    real factor;                            /* of q */
} Sizes;

/* From what Python passes: the sizes in the order of the struct, then the strides. */
static Sizes read_sizes(const int64_t *sizes, double factor) {
    return (Sizes){sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes + 7, (real)factor};
}

static inline int64_t place(const Sizes *s, int which, int64_t head, int64_t t) {
    const int64_t *stride = s->strides + 3 * which;
    return head / s->H * stride[0] + head % s->H * stride[1] + t * stride[2];
}

/* n rows, `step` apart, times a factor, into rows of a chunk */
static void load_rows(real *restrict out, int64_t width, const real *restrict rows, int64_t step, int64_t columns,
                      int64_t n, real factor) {
    for (int64_t t = 0; t < n; t++)
        SIMD for (int64_t i = 0; i < columns; i++) out[t * width + i] = factor * rows[t * step + i];
}

static void store_rows(real *restrict rows, int64_t step, const real *restrict from, int64_t width, int64_t columns,
                       int64_t n, real factor) {
    for (int64_t t = 0; t < n; t++)
        SIMD for (int64_t i = 0; i < columns; i++) rows[t * step + i] = factor * from[t * width + i];
}

/* Columns of a state (K, W), and its last one where there is a total, to or from rows of the chunk's width. Around what
 * is loaded there are zeros: products run over them, and the head before may have left NaN there (zero times NaN). */
static void load_state(real *restrict state, const Chunk *c, const real *restrict from, const Sizes *s, int64_t first,
                       int64_t columns) {
    int64_t V = c->V, W = s->V + s->normalize;
    if (s->K < c->K || columns < V) memset(state, 0, c->K * V * sizeof(real));
    for (int64_t i = 0; i < s->K; i++) {
        memcpy(state + i * V, from + i * W + first, columns * sizeof(real));
        if (s->normalize) state[i * V + columns] = from[i * W + s->V];
    }
}

static void store_state(const real *restrict state, int64_t V, real *restrict to, const Sizes *s, int64_t first,
                        int64_t columns) {
    int64_t W = s->V + s->normalize;
    for (int64_t i = 0; i < s->K; i++) {
        memcpy(to + i * W + first, state + i * V, columns * sizeof(real));
        if (s->normalize && !first) to[i * W + s->V] = state[i * V + columns];
    }
}

static void transpose(real *restrict out, int64_t out_row, const real *restrict a, int64_t a_row, int64_t M,
                      int64_t N) {
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) out[n * out_row + m] = a[m * a_row + n];
}

/* A state (K, W) as the backward has it, (V, K), with zeros around it. */
static void load_transposed(real *restrict state, const Chunk *c, const real *restrict from, const Sizes *s) {
    int64_t W = s->V + s->normalize;
    if (s->K < c->K || W < c->V) memset(state, 0, c->K * c->V * sizeof(real));
    transpose(state, c->K, from, W, s->K, W);
}

/* The gradient of the final state, zero if null, in both layouts of chunk_backward. */
static void load_grad_state(real *grad, real *grad_t, const Chunk *c, const real *final, const Sizes *s) {
    int64_t W = s->V + s->normalize;
    memset(grad, 0, c->K * c->V * sizeof(real));
    memset(grad_t, 0, c->K * c->V * sizeof(real));
    if (!final) return;
    for (int64_t i = 0; i < s->K; i++) memcpy(grad + i * c->V, final + i * W, W * sizeof(real));
    transpose(grad_t, c->K, grad, c->V, s->K, W);
}
