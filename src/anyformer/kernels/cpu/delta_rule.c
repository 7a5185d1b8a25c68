/* The delta rule: with P = exp(d_t) S_{t-1}, S_t = P + beta_t k_t (v_t - k_t^T P)^T, y_t = q_t^T S_t, and its adjoint.
 *
 * In the terms of matrix_state.h, with w = exp(d): b = k, a = -beta w k, and beta k in the place of k. The tensors are
 * those of linear_attention.c; beta and d (B, H, T) have strides, d may be null. u (B, H, T, V), contiguous, is what
 * the state held for each key; it is kept for the backward. */
#include "heads.h"

enum { Q, KEY, VALUE, OUT, BETA, DECAY, GRAD_OUT, GRAD_Q, GRAD_KEY, GRAD_VALUE };

typedef struct {
    const real *q, *k, *v, *beta, *d, *initial, *kept, *u, *grad_y, *grad_final;
    real *grad_q, *grad_k, *grad_v, *grad_beta, *grad_d, *grad_initial;
} Tensors;

/* The chunk that starts with token `first`, with the columns of v from `from` on, if any. */
static void load_chunk(Chunk *c, const Sizes *s, const Tensors *x, int64_t head, int64_t first, int64_t from,
                       int64_t columns) {
    int64_t K = c->K, step = s->strides[3 * KEY + 2];
    const real *k = x->k + place(s, KEY, head, first), *beta = x->beta + place(s, BETA, head, first);
    c->n = MIN(CHUNK, s->T - first);
    load_rows(c->x, K, x->q + place(s, Q, head, first), s->strides[3 * Q + 2], s->K, c->n, 1);
    load_rows(value_of(c->values, c, 1), c->V, x->v + place(s, VALUE, head, first) + from, s->strides[3 * VALUE + 2],
              columns, c->n, 1);
    for (int64_t t = 0; t < c->n; t++) {
        real strength = beta[t * s->strides[3 * BETA + 2]], w = 1;
        real *b = read_of(c->x, c, 1) + t * K, *a = c->z + t * K, *write = read_of(c->z, c, 1) + t * K;
        if (x->d) c->factor[t] = w = fast_exp(x->d[place(s, DECAY, head, first + t)]);
        SIMD for (int64_t i = 0; i < s->K; i++) {
            real key = k[t * step + i];
            b[i] = key;
            write[i] = strength * key;
            a[i] = -w * strength * key;
        }
    }
}

/* One token from a state to another, without a chunk: what decoding repeats. */
static void step(const Sizes *s, const real *q, const real *k, const real *v, real beta, real w,
                 const real *restrict before, real *restrict u, real *restrict y, real *restrict after) {
    int64_t V = s->V;
    for (int64_t j = 0; j < V; j++) u[j] = y[j] = 0;
    for (int64_t i = 0; i < s->K; i++) add_scaled(u, k[i], before + i * V, V);
    for (int64_t i = 0; i < s->K; i++) {
        real key = beta * k[i], query = q[i];
        SIMD for (int64_t j = 0; j < V; j++) {
            after[i * V + j] = w * before[i * V + j] + key * (v[j] - w * u[j]);
            y[j] += query * after[i * V + j];
        }
    }
}

/* All chunks of a head, for some columns of v. */
static void head_forward(Chunk *c, real *state, const Sizes *s, const Tensors *x, real *y, real *final, real *kept,
                         real *u, int64_t head, int64_t from, int64_t columns) {
    int64_t size = s->K * s->V, keeps = (s->T - 1) / KEEP;
    load_state(state, c, x->initial + head * size, s, from, columns);
    for (int64_t first = 0; first < s->T; first += CHUNK) {
        if (kept && first && first % KEEP == 0)
            store_state(state, c->V, kept + (head * keeps + first / KEEP - 1) * size, s, from, columns);
        load_chunk(c, s, x, head, first, from, columns);
        chunk_forward(c, state);
        store_rows(y + place(s, OUT, head, first) + from, s->strides[3 * OUT + 2], c->values, c->V, columns, c->n, 1);
        if (u)
            store_rows(u + (head * s->T + first) * s->V + from, s->V, value_of(c->values, c, 0), c->V, columns, c->n,
                       1);
    }
    store_state(state, c->V, final + head * size, s, from, columns);
}

static void steps(const Sizes *s, const Tensors *x, real *y, real *final, real *u, int64_t threads) {
    int64_t size = s->K * s->V;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : s->B * s->H * size > 65536)
    for (int64_t head = 0; head < s->B * s->H; head++) {
        real w = x->d ? fast_exp(x->d[place(s, DECAY, head, 0)]) : 1;
        step(s, x->q + place(s, Q, head, 0), x->k + place(s, KEY, head, 0), x->v + place(s, VALUE, head, 0),
             x->beta[place(s, BETA, head, 0)], w, x->initial + head * size, u + head * s->V,
             y + place(s, OUT, head, 0), final + head * size);
    }
}

/* kept may be null, and u where T > 1, when no backward follows. */
EXPORT(delta_rule)(const real *q, const real *k, const real *v, const real *beta, const real *d, const real *initial,
                   real *y, real *final, real *kept, real *u, const int64_t *sizes, int64_t threads) {
    const Sizes s = read_sizes(sizes, 1);
    const Tensors x = {.q = q, .k = k, .v = v, .beta = beta, .d = d, .initial = initial};
    if (s.T == 1) {
        steps(&s, &x, y, final, u, threads);
        return;
    }
    int64_t heads = MAX(s.B * s.H, 1), blocks = MIN((threads + heads - 1) / heads, (s.V + WIDE - 1) / WIDE);
    int64_t width = blocks > 1 ? padded((s.V + blocks - 1) / blocks) : s.V, Kp = padded(s.K), Vp = padded(width);
#pragma omp parallel num_threads(threads) if (parallel : s.B * s.H * s.T * s.K * s.V > 32768)
    {
        Chunk c;
        int64_t room = chunk_layout(&c, NULL, Kp, Vp, 2, (int)s.kind, 0);
        real *memory = allocate(room + Kp * Vp), *state = memory + room;
        chunk_layout(&c, memory, Kp, Vp, 2, (int)s.kind, 0);
#pragma omp for schedule(static)
        for (int64_t task = 0; task < s.B * s.H * blocks; task++) {
            int64_t from = task % blocks * width;
            if (from < s.V || !from)
                head_forward(&c, state, &s, &x, y, final, kept, u, task / blocks, from, MIN(width, s.V - from));
        }
        release(memory);
    }
}

/* The gradients of b, a and beta k are those of k and beta; log w also moves a. */
static void store_grads(const Chunk *c, const Sizes *s, const Tensors *x, int64_t head, int64_t first) {
    int64_t K = c->K, step = s->strides[3 * GRAD_KEY + 2];
    real *grad_k = x->grad_k + place(s, GRAD_KEY, head, first);
    store_rows(x->grad_q + place(s, GRAD_Q, head, first), s->strides[3 * GRAD_Q + 2], c->grad_x, K, s->K, c->n, 1);
    store_rows(x->grad_v + place(s, GRAD_VALUE, head, first), s->strides[3 * GRAD_VALUE + 2],
               value_of(c->grad_values, c, 1), c->V, s->V, c->n, 1);
    for (int64_t t = 0; t < c->n; t++) {
        const real *restrict key = read_of(c->x, c, 1) + t * K, *restrict by_b = read_of(c->grad_x, c, 1) + t * K;
        const real *restrict by_a = c->grad_z + t * K, *restrict by_write = read_of(c->grad_z, c, 1) + t * K;
        real *restrict out = grad_k + t * step, w = x->d ? c->factor[t] : 1, sum = 0, of_a = 0;
        real beta = x->beta[place(s, BETA, head, first + t)];
        _Pragma("omp simd reduction(+ : sum, of_a)") for (int64_t i = 0; i < s->K; i++) {
            real both = by_write[i] - w * by_a[i];
            out[i] = by_b[i] + beta * both;
            sum += key[i] * both;
            of_a -= key[i] * by_a[i];
        }
        x->grad_beta[head * s->T + first + t] = sum;
        if (x->grad_d) x->grad_d[head * s->T + first + t] = c->grad_log[t * K] + beta * w * of_a;
    }
}

/* All chunks of a head, from the last: KEEP tokens at a time, whose states are run again from the one that was kept. */
static void head_backward(Chunk *c, real *states, const Sizes *s, const Tensors *x, int64_t head) {
    int64_t V = s->V, size = s->K * V, area = c->K * c->V, keeps = (s->T - 1) / KEEP;
    real *grad = states + KEEP / CHUNK * area, *grad_t = grad + area;
    load_grad_state(grad, grad_t, c, x->grad_final ? x->grad_final + head * size : NULL, s);
    for (int64_t part = keeps; part >= 0; part--) {
        int64_t start = part * KEEP, chunks = (MIN(KEEP, s->T - start) + CHUNK - 1) / CHUNK;
        const real *from = part ? x->kept + (head * keeps + part - 1) * size : x->initial + head * size;
        load_transposed(states, c, from, s);
        for (int64_t step = 1 - chunks; step < chunks; step++) { /* the states forwards, then the chunks backwards */
            int64_t i = step < 0 ? chunks - 1 + step : chunks - 1 - step, first = start + i * CHUNK;
            load_chunk(c, s, x, head, first, 0, V);
            load_rows(value_of(c->values, c, 0), c->V, x->u + (head * s->T + first) * V, V, V, c->n, 1);
            if (step < 0) {
                memcpy(states + (i + 1) * area, states + i * area, area * sizeof(real));
                chunk_state(c, states + (i + 1) * area);
                continue;
            }
            load_rows(c->grad_values, c->V, x->grad_y + place(s, GRAD_OUT, head, first), s->strides[3 * GRAD_OUT + 2],
                      V, c->n, 1);
            chunk_backward(c, states + i * area, grad, grad_t, x->grad_d != NULL);
            store_grads(c, s, x, head, first);
        }
    }
    store_state(grad, c->V, x->grad_initial + head * size, s, 0, V);
}

/* grad_final and grad_d may be null; grad_beta and grad_d are contiguous. */
EXPORT(delta_rule_backward)(const real *q, const real *k, const real *v, const real *beta, const real *d,
                            const real *initial, const real *kept, const real *u, const real *grad_y,
                            const real *grad_final, real *grad_q, real *grad_k, real *grad_v, real *grad_beta,
                            real *grad_d, real *grad_initial, const int64_t *sizes, int64_t threads) {
    const Sizes s = read_sizes(sizes, 1);
    const Tensors x = {q,          k,      v,      beta,   d,         initial, kept,        u, grad_y,
                       grad_final, grad_q, grad_k, grad_v, grad_beta, grad_d,  grad_initial};
    int64_t Kp = padded(s.K), Vp = padded(s.V);
#pragma omp parallel num_threads(threads) if (parallel : s.B * s.H * s.T * s.K * s.V > 32768)
    {
        Chunk c;
        int64_t room = chunk_layout(&c, NULL, Kp, Vp, 2, (int)s.kind, 1);
        real *memory = allocate(room + (KEEP / CHUNK + 2) * Kp * Vp), *states = memory + room;
        chunk_layout(&c, memory, Kp, Vp, 2, (int)s.kind, 1);
#pragma omp for schedule(static)
        for (int64_t head = 0; head < s.B * s.H; head++) head_backward(&c, states, &s, &x, head);
        release(memory);
    }
}
