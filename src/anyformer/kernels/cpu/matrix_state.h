/* The recurrence of a matrix, S_t = (diag(w_t) + a_t b_t^T) S_{t-1} + k_t v_t^T with y_t = q_t^T S_t, and its adjoint,
 * one chunk of tokens at a time. linear_attention.c and delta_rule.c fill chunks and empty them.
 *
 * A chunk from state S_0 is written as small matrix products. A token t has one or two reads (q, and b) and one or
 * two writes (k v^T, and a u^T with u = b^T S_{t-1}). A read sees the state after `slot` tokens, t + 1 for q and t for
 * b; write s happens in slot s + 1. With D[i][j] the product of the factors w between slots i > j:
 *
 *     read = (D[slot][0] x)^T S_0 + sum over writes of (x^T (D[slot][s + 1] z_s)) value_s
 *     S_n  = D[n][0] S_0 + sum over writes of (D[n][s + 1] z_s) value_s^T
 *
 * Only products of factors are formed and nothing is divided by one, so that factors may be as small as zero. */
#pragma once
#include "tiles.h"

enum { CHUNK = 16, KEEP = 8 * CHUNK }; /* a state is kept every KEEP tokens, for the backward */
enum { NONE, SCALAR, VECTOR };         /* kinds of decay */

typedef struct {
    int64_t K, V, n;       /* padded widths; tokens in this chunk */
    int64_t branches;      /* reads of a token, and writes: 1 or 2 */
    int decay;
    real *x, *z;           /* reads (q, b) and writes (k, or a and k), CHUNK rows of K each */
    real *early, *late;    /* the same, decayed from the start of the chunk and to its end */
    real *values;          /* CHUNK rows of V each: y, then u where there are two branches, then v */
    real *factor;          /* w: CHUNK, or CHUNK rows of K */
    real *total;           /* D[n][0] in K channels */
    real *running;         /* K channels for a moment */
    real *between;         /* D of a scalar decay: row i, column j is D[i][j + 1], zero where i <= j */
    real *weights;         /* row (read, t), column (write, s): x^T (D z), zero where the read is earlier */
    real *history;         /* vector decay: z_s as of slot t + 1, at [t][write][s] */
    /* for the backward: gradients of what has the same name */
    real *grad_x, *grad_z, *grad_values, *grad_weights, *grad_history;
    real *grad_log;        /* of log w: CHUNK rows of K, of which a scalar decay uses the first column */
} Chunk;

enum { LINE = 2 * CHUNK }; /* of weights */

static real *take(real **memory, int64_t size) {
    real *first = *memory;
    *memory += (size + 15) / 16 * 16;
    return first;
}

/* Lay the chunk out in memory, zeroed; with null memory only count. Returns the numbers used. */
static int64_t chunk_layout(Chunk *c, real *memory, int64_t K, int64_t V, int64_t branches, int decay, int backward) {
    real *const start = memory;
    int64_t rows = branches * CHUNK;
    *c = (Chunk){.K = K, .V = V, .branches = branches, .decay = decay};
    c->x = take(&memory, rows * K);
    c->z = take(&memory, rows * K);
    c->early = decay == NONE ? c->x : take(&memory, rows * K);
    c->late = decay == NONE ? c->z : take(&memory, rows * K);
    c->values = take(&memory, (rows + CHUNK) * V);
    c->factor = take(&memory, CHUNK * (decay == VECTOR ? K : 1));
    c->total = take(&memory, K);
    c->running = take(&memory, K);
    c->between = take(&memory, (CHUNK + 1) * CHUNK);
    c->weights = take(&memory, 2 * CHUNK * LINE);
    c->history = take(&memory, decay == VECTOR ? (backward ? CHUNK : 1) * rows * K : 0);
    if (backward) {
        c->grad_x = take(&memory, rows * K);
        c->grad_z = take(&memory, rows * K);
        c->grad_values = take(&memory, (rows + CHUNK) * V);
        c->grad_weights = take(&memory, 2 * CHUNK * LINE);
        c->grad_log = take(&memory, CHUNK * K);
        c->grad_history = take(&memory, decay == VECTOR ? rows * K : 0);
    }
    return memory - start;
}

static inline int64_t chunk_rows(int64_t n) { return (n + 7) / 8 * 8; }
static inline real *read_of(real *rows, const Chunk *c, int64_t r) { return rows + r * CHUNK * c->K; }
static inline real *output_of(real *values, const Chunk *c, int64_t r) { return values + r * CHUNK * c->V; }
static inline real *value_of(real *values, const Chunk *c, int64_t z) { return values + (1 + z) * CHUNK * c->V; }
static inline real *weights_of(real *weights, int64_t r, int64_t z) { return weights + r * CHUNK * LINE + z * CHUNK; }
static inline real *history_of(const Chunk *c, int64_t step, int64_t t, int64_t z, int64_t s) {
    return c->history + t * step + (z * CHUNK + s) * c->K;
}

static void decay_by_scalars(const Chunk *c) {
    int64_t K = c->K;
    real start = 1;
    memset(c->between, 0, CHUNK * sizeof(real));
    for (int64_t t = 0; t < c->n; t++) {
        real w = c->factor[t], *row = c->between + t * CHUNK;
        SIMD for (int s = 0; s < CHUNK; s++) row[CHUNK + s] = row[s] * w;
        row[CHUNK + t] = 1;
        for (int64_t r = c->branches - 1; r >= 0; r--) {
            real factor = r ? start : start * w, *early = read_of(c->early, c, r) + t * K;
            const real *x = read_of(c->x, c, r) + t * K;
            SIMD for (int64_t i = 0; i < K; i++) early[i] = factor * x[i];
        }
        start *= w;
    }
    for (int64_t z = 0; z < c->branches; z++)
        for (int64_t s = 0; s < c->n; s++) {
            real factor = c->between[c->n * CHUNK + s], *late = read_of(c->late, c, z) + s * K;
            const real *write = read_of(c->z, c, z) + s * K;
            SIMD for (int64_t i = 0; i < K; i++) late[i] = factor * write[i];
        }
    for (int64_t i = 0; i < K; i++) c->total[i] = start;
}

static void decay_by_vectors(const Chunk *c) {
    int64_t K = c->K;
    real *restrict total = c->total, *restrict after = c->running;
    for (int64_t i = 0; i < K; i++) total[i] = after[i] = 1;
    for (int64_t t = 0; t < c->n; t++) {
        const real *w = c->factor + t * K, *q = c->x + t * K, *b = q + CHUNK * K;
        real *early = c->early + t * K;
        if (c->branches == 2) SIMD for (int64_t i = 0; i < K; i++) early[CHUNK * K + i] = total[i] * b[i];
        SIMD for (int64_t i = 0; i < K; i++) {
            total[i] *= w[i];
            early[i] = total[i] * q[i];
        }
    }
    for (int64_t s = c->n - 1; s >= 0; s--) {
        for (int64_t z = 0; z < c->branches; z++) {
            const real *write = read_of(c->z, c, z) + s * K;
            real *late = read_of(c->late, c, z) + s * K;
            SIMD for (int64_t i = 0; i < K; i++) late[i] = after[i] * write[i];
        }
        multiply(after, c->factor + s * K, K);
    }
}

/* early, late, total, between */
static void chunk_decay(const Chunk *c) {
    if (c->decay == SCALAR) decay_by_scalars(c);
    if (c->decay == VECTOR) decay_by_vectors(c);
}

/* rows *= D where the read sees the write, and zero elsewhere */
static void mask_weights(const Chunk *c, real *weights) {
    for (int64_t r = 0; r < c->branches; r++)
        for (int64_t z = 0; z < c->branches; z++)
            for (int64_t t = 0; t < c->n; t++) {
                real *restrict row = weights_of(weights, r, z) + t * LINE;
                const real *restrict factor = c->between + (t + 1 - r) * CHUNK;
                int seen = (int)(t - r); /* the last write that is seen */
                if (c->decay == SCALAR) {
                    SIMD for (int s = 0; s < CHUNK; s++) row[s] = s <= seen ? row[s] * factor[s] : 0;
                } else {
                    SIMD for (int s = 0; s < CHUNK; s++) row[s] = s <= seen ? row[s] : 0;
                }
            }
}

/* With a vector decay the writes decay along the chunk and each read meets them as they are then. */
static void weights_by_vectors(const Chunk *c, int64_t step) {
    int64_t K = c->K;
    memset(c->weights, 0, 2 * CHUNK * LINE * sizeof(real));
    for (int64_t z = 0; z < c->branches; z++) {
        const real *write = read_of(c->z, c, z);
        for (int64_t t = 0; t < c->n; t++) {
            const real *q = c->x + t * K, *b = q + CHUNK * K, *w = c->factor + t * K;
            real *of_q = weights_of(c->weights, 0, z) + t * LINE, *of_b = weights_of(c->weights, 1, z) + t * LINE;
            for (int64_t s = 0; s < t; s++) {
                const real *then = history_of(c, step, t - 1, z, s);
                real *now = history_of(c, step, t, z, s), sum = 0;
                if (c->branches == 2) of_b[s] = inner(b, then, K);
                _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < K; i++) {
                    real x = then[i] * w[i];
                    now[i] = x;
                    sum += q[i] * x;
                }
                of_q[s] = sum;
            }
            memcpy(history_of(c, step, t, z, t), write + t * K, K * sizeof(real));
            of_q[t] = inner(q, write + t * K, K);
        }
    }
}

/* `keep` keeps the history for the backward. */
static void chunk_weights(const Chunk *c, int keep) {
    if (c->decay == VECTOR) {
        weights_by_vectors(c, keep ? c->branches * CHUNK * c->K : 0);
        return;
    }
    int64_t rows = chunk_rows(c->n);
    for (int64_t r = 0; r < c->branches; r++)
        for (int64_t z = 0; z < c->branches; z++)
            products_of_rows(weights_of(c->weights, r, z), LINE, read_of(c->x, c, r), read_of(c->z, c, z), rows, rows,
                             c->K, 1);
    mask_weights(c, c->weights);
}

/* From the state before the chunk (K, V) to the one after it; values get y, and u. */
static void chunk_forward(const Chunk *c, real *state) {
    int64_t K = c->K, V = c->V, n = c->n, rows = chunk_rows(n);
    real *y = c->values, *u = y + CHUNK * V;
    chunk_decay(c);
    chunk_weights(c, 0);
    if (c->branches == 2) {
        const real *of_a = weights_of(c->weights, 1, 0), *of_k = weights_of(c->weights, 1, 1);
        product(u, read_of(c->early, c, 1), K, 1, state, rows, K, V, 0);
        product(u, of_k, LINE, 1, value_of(c->values, c, 1), rows, n, V, 1);
        for (int64_t t = 1; t < n; t++)
            for (int64_t s = 0; s < t; s++) add_scaled(u + t * V, of_a[t * LINE + s], u + s * V, V);
    }
    product(y, c->early, K, 1, state, rows, K, V, 0);
    for (int64_t z = 0; z < c->branches; z++)
        for (int64_t t = 0; t < rows; t += 8)
            product(y + t * V, weights_of(c->weights, 0, z) + t * LINE, LINE, 1, value_of(c->values, c, z), 8,
                    MIN(n, t + 8), V, 1);
    if (c->decay != NONE)
        for (int64_t i = 0; i < K; i++) scale(state + i * V, c->total[i], V);
    for (int64_t z = 0; z < c->branches; z++)
        product(state, read_of(c->late, c, z), 1, K, value_of(c->values, c, z), K, n, V, 1);
}

/* The same for the state alone, transposed (V, K), where the values are known. */
static void chunk_state(const Chunk *c, real *state) {
    int64_t K = c->K, V = c->V;
    chunk_decay(c);
    if (c->decay != NONE)
        for (int64_t i = 0; i < V; i++) multiply(state + i * K, c->total, K);
    for (int64_t z = 0; z < c->branches; z++)
        product(state, value_of(c->values, c, z), 1, V, read_of(c->late, c, z), V, c->n, K, 1);
}
