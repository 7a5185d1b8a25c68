/* The adjoint of a chunk of matrix_state.h. */
#pragma once
#include "matrix_state.h"

/* Gradients of the values, of u among them: through y, and through the state after the chunk. */
static void backward_values(const Chunk *c, const real *grad) {
    int64_t K = c->K, V = c->V, n = c->n, rows = chunk_rows(n);
    const real *grad_y = c->grad_values;
    for (int64_t z = 0; z < c->branches; z++) {
        real *grad_value = value_of(c->grad_values, c, z);
        product(grad_value, read_of(c->late, c, z), K, 1, grad, rows, K, V, 0);
        product(grad_value, weights_of(c->weights, 0, z), 1, LINE, grad_y, rows, n, V, 1);
    }
    if (c->branches == 1) return;
    const real *of_a = weights_of(c->weights, 1, 0), *of_k = weights_of(c->weights, 1, 1);
    real *grad_u = value_of(c->grad_values, c, 0), *grad_v = value_of(c->grad_values, c, 1);
    for (int64_t t = n - 2; t >= 0; t--)
        for (int64_t later = t + 1; later < n; later++)
            add_scaled(grad_u + t * V, of_a[later * LINE + t], grad_u + later * V, V);
    product(grad_v, of_k, 1, LINE, grad_u, rows, n, V, 1);
}

/* Gradients of reads and writes through the states before and after the chunk. */
static void backward_states(const Chunk *c, const real *before, const real *grad) {
    int64_t K = c->K, V = c->V, n = c->n, rows = chunk_rows(n);
    for (int64_t r = 0; r < c->branches; r++) {
        real *grad_x = read_of(c->grad_x, c, r), *grad_z = read_of(c->grad_z, c, r), start = 1;
        product(grad_x, output_of(c->grad_values, c, r), V, 1, before, rows, V, K, 0);
        product(grad_z, value_of(c->values, c, r), V, 1, grad, rows, V, K, 0);
        if (c->decay == SCALAR) {
            for (int64_t t = 0; t < n; t++) {
                real next = start * c->factor[t];
                scale(grad_x + t * K, r ? start : next, K);
                scale(grad_z + t * K, c->between[n * CHUNK + t], K);
                start = next;
            }
        } else if (c->decay == VECTOR) {
            real *restrict run = c->running;
            for (int64_t i = 0; i < K; i++) run[i] = 1;
            for (int64_t t = 0; t < n; t++) {
                if (r) multiply(grad_x + t * K, run, K);
                multiply(run, c->factor + t * K, K);
                if (!r) multiply(grad_x + t * K, run, K);
            }
            for (int64_t i = 0; i < K; i++) run[i] = 1;
            for (int64_t t = n - 1; t >= 0; t--) {
                multiply(grad_z + t * K, run, K);
                multiply(run, c->factor + t * K, K);
            }
        }
    }
}

/* What log w_t gets from the state before or after the chunk: everything written before t (or the state before the
 * chunk) times everything that reads it later. Only sums of such products, no differences that would cancel. */
static void backward_decay_of_states(const Chunk *c, const real *before, const real *grad) {
    int64_t K = c->K, n = c->n;
    real *restrict run = c->running;
    memset(run, 0, K * sizeof(real));
    for (int64_t i = 0; i < c->V; i++) add_product(run, before + i * K, grad + i * K, K);
    multiply(run, c->total, K);
    for (int64_t t = 0; t < n; t++) {
        real *restrict out = c->grad_log + t * K;
        SIMD for (int64_t i = 0; i < K; i++) out[i] = run[i];
    }
    memset(run, 0, K * sizeof(real));
    for (int64_t t = n - 1; t >= 0; t--) {
        for (int64_t r = 0; r < c->branches && t + r < n; r++)
            add_product(run, read_of(c->x, c, r) + (t + r) * K, read_of(c->grad_x, c, r) + (t + r) * K, K);
        add_scaled(c->grad_log + t * K, 1, run, K);
    }
    memset(run, 0, K * sizeof(real));
    for (int64_t t = 0; t < n; t++) {
        add_scaled(c->grad_log + t * K, 1, run, K);
        for (int64_t z = 0; z < c->branches; z++)
            add_product(run, read_of(c->z, c, z) + t * K, read_of(c->grad_z, c, z) + t * K, K);
    }
}

/* What a scalar log w_t gets from pairs inside the chunk, with the sum of its channels, into the first channel. */
static void backward_decay_of_scalars(const Chunk *c) {
    real column[CHUNK] = {0};
    for (int64_t t = c->n - 1; t >= 0; t--) {
        for (int64_t r = 0; r < c->branches && t + r < c->n; r++)
            for (int64_t z = 0; z < c->branches; z++) {
                const real *weight = weights_of(c->weights, r, z) + (t + r) * LINE;
                const real *grad = weights_of(c->grad_weights, r, z) + (t + r) * LINE;
                int seen = (int)t; /* above the diagonal grad_weights hold nothing */
                SIMD for (int s = 0; s < CHUNK; s++) column[s] += s < seen ? weight[s] * grad[s] : 0;
            }
        real *out = c->grad_log + t * c->K, sum = 0;
        for (int64_t s = 0; s < t; s++) sum += column[s];
        _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < c->K; i++) sum += out[i];
        *out = sum;
    }
}

/* Gradients of reads and writes, and of vector decays, from pairs inside the chunk: along the chunk backwards, with
 * the writes as they were at each token. */
static void backward_pairs_by_vectors(const Chunk *c, int wants_decay) {
    int64_t K = c->K, n = c->n, step = c->branches * CHUNK * K;
    memset(c->grad_history, 0, step * sizeof(real));
    for (int64_t t = n - 1; t >= 0; t--) {
        int two = c->branches == 2 && t + 1 < n;
        const real *w = c->factor + t * K, *q = c->x + t * K, *b = two ? q + (CHUNK + 1) * K : q;
        real *grad_q = c->grad_x + t * K, *grad_b = grad_q + (CHUNK + 1) * K, *grad_log = c->grad_log + t * K;
        for (int64_t z = 0; z < c->branches; z++)
            for (int64_t s = 0; s <= t; s++) {
                const real *restrict write = history_of(c, step, t, z, s);
                real *restrict grad = c->grad_history + (z * CHUNK + s) * K;
                real by_q = weights_of(c->grad_weights, 0, z)[t * LINE + s];
                real by_b = two ? weights_of(c->grad_weights, 1, z)[(t + 1) * LINE + s] : 0;
                if (two) add_scaled(grad_b, by_b, write, K);
                SIMD for (int64_t i = 0; i < K; i++) {
                    grad_q[i] += by_q * write[i];
                    grad[i] += by_q * q[i] + by_b * b[i];
                }
                if (s == t) {
                    add_scaled(read_of(c->grad_z, c, z) + t * K, 1, grad, K);
                } else {
                    if (wants_decay) add_product(grad_log, write, grad, K);
                    multiply(grad, w, K);
                }
            }
    }
}

/* From the gradient of the state after the chunk to that of the state before, in both layouts: grad (K, V) and
 * grad_t (V, K). `before` is the state before the chunk, (V, K); grad_values hold the gradient of y. Fills the other
 * gradients of the chunk, whose values hold u and v. */
static void chunk_backward(const Chunk *c, const real *before, real *grad, real *grad_t, int wants_decay) {
    int64_t K = c->K, V = c->V, n = c->n, rows = chunk_rows(n);
    chunk_decay(c);
    chunk_weights(c, 1);
    backward_values(c, grad);
    for (int64_t r = 0; r < c->branches; r++)
        for (int64_t z = 0; z < c->branches; z++)
            products_of_rows(weights_of(c->grad_weights, r, z), LINE, output_of(c->grad_values, c, r),
                             value_of(c->values, c, z), rows, rows, V, 1);
    backward_states(c, before, grad_t);
    if (wants_decay) backward_decay_of_states(c, before, grad_t);
    if (c->decay == VECTOR) {
        backward_pairs_by_vectors(c, wants_decay);
    } else {
        if (wants_decay) backward_decay_of_scalars(c);
        mask_weights(c, c->grad_weights);
        for (int64_t r = 0; r < c->branches; r++)
            for (int64_t z = 0; z < c->branches; z++) {
                real *pairs = weights_of(c->grad_weights, r, z);
                product(read_of(c->grad_x, c, r), pairs, LINE, 1, read_of(c->z, c, z), rows, n, K, 1);
                product(read_of(c->grad_z, c, z), pairs, 1, LINE, read_of(c->x, c, r), rows, n, K, 1);
            }
    }
    if (c->decay != NONE) {
        for (int64_t i = 0; i < K; i++) scale(grad + i * V, c->total[i], V);
        for (int64_t i = 0; i < V; i++) multiply(grad_t + i * K, c->total, K);
    }
    for (int64_t r = 0; r < c->branches; r++) {
        const real *early = read_of(c->early, c, r), *grad_output = output_of(c->grad_values, c, r);
        product(grad, early, 1, K, grad_output, K, n, V, 1);
        product(grad_t, grad_output, 1, V, early, V, n, K, 1);
    }
}
