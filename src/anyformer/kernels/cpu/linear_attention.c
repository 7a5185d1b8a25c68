/* Linear attention, S_t = exp(d_t) S_{t-1} + k_t v_t^T, y_t = q_t^T S_t, and its adjoint.
 *
 * q, k (B, H, T, K), v, y (B, H, T, V) and the decay have strides over (B, H, T) and a contiguous last axis. With
 * normalize the values have one more column, of ones; it is never in memory but in the states, (B, H, K, V + 1).
 * Y is then divided by that column of it, which is `total` (B, H, T). `kept` are the states after each KEEP tokens
 * but the last. Each thread takes heads, and runs along their chunks; where there are more threads than heads, the
 * forward also divides the columns of v. */
#include "heads.h"

enum { Q, KEY, VALUE, OUT, DECAY, GRAD_OUT, GRAD_Q, GRAD_KEY, GRAD_VALUE };

static void load_decay(const Chunk *c, const Sizes *s, const real *d, int64_t head, int64_t first) {
    int64_t step = s->strides[3 * DECAY + 2], columns = c->decay == VECTOR ? s->K : 1;
    d += place(s, DECAY, head, first);
    for (int64_t t = 0; t < c->n; t++) {
        real *restrict w = c->factor + t * (c->decay == VECTOR ? c->K : 1);
        SIMD for (int64_t i = 0; i < columns; i++) w[i] = fast_exp(d[t * step + i]);
    }
}

/* keys, values from column `from` on, and decays of the chunk that starts with token `first` */
static void load_writes(Chunk *c, const Sizes *s, const real *k, const real *v, const real *d, int64_t head,
                        int64_t first, int64_t from, int64_t columns) {
    real *values = value_of(c->values, c, 0);
    c->n = MIN(CHUNK, s->T - first);
    load_rows(c->z, c->K, k + place(s, KEY, head, first), s->strides[3 * KEY + 2], s->K, c->n, 1);
    load_rows(values, c->V, v + place(s, VALUE, head, first) + from, s->strides[3 * VALUE + 2], columns, c->n, 1);
    if (s->normalize)
        for (int64_t t = 0; t < c->n; t++) values[t * c->V + columns] = 1;
    if (c->decay != NONE) load_decay(c, s, d, head, first);
}

/* out = a / total, zero where the total is */
static void divide(real *out, const real *a, real total, int64_t n) {
    real safe = total == 0 ? 1 : total;
    SIMD for (int64_t i = 0; i < n; i++) out[i] = total == 0 ? 0 : a[i] / safe;
}

/* y from the chunk to its place, divided by the total */
static void store_outputs(const Chunk *c, const Sizes *s, real *y, real *total, int64_t head, int64_t first,
                          int64_t from, int64_t columns) {
    int64_t step = s->strides[3 * OUT + 2];
    y += place(s, OUT, head, first) + from;
    for (int64_t t = 0; t < c->n; t++) {
        const real *restrict row = c->values + t * c->V;
        real *restrict out = y + t * step, sum = s->normalize ? row[columns] : 1;
        divide(out, row, sum, columns);
        if (s->normalize && !from) total[head * s->T + first + t] = sum;
    }
}

/* One token from a state to another, without a chunk: what decoding repeats. */
static void step(const Sizes *s, const real *q, const real *k, const real *v, const real *d,
                 const real *restrict before, real *restrict y, real *restrict after, real *total) {
    int64_t V = s->V, W = V + s->normalize;
    real sum = 0;
    memset(y, 0, V * sizeof(real));
    for (int64_t i = 0; i < s->K; i++) {
        real w = s->kind == NONE ? 1 : fast_exp(d[s->kind == VECTOR ? i : 0]), key = k[i], query = q[i] * s->factor;
        SIMD for (int64_t j = 0; j < V; j++) {
            after[i * W + j] = w * before[i * W + j] + key * v[j];
            y[j] += query * after[i * W + j];
        }
        if (s->normalize) sum += query * (after[i * W + V] = w * before[i * W + V] + key);
    }
    if (!s->normalize) return;
    *total = sum;
    divide(y, y, sum, V);
}

/* All chunks of a head, for some columns of v. */
static void head_forward(Chunk *c, real *state, const Sizes *s, const real *q, const real *k, const real *v,
                         const real *d, const real *initial, real *y, real *final, real *kept, real *total,
                         int64_t head, int64_t from, int64_t columns) {
    int64_t size = s->K * (s->V + s->normalize), keeps = (s->T - 1) / KEEP;
    load_state(state, c, initial + head * size, s, from, columns);
    for (int64_t first = 0; first < s->T; first += CHUNK) {
        if (kept && first && first % KEEP == 0)
            store_state(state, c->V, kept + (head * keeps + first / KEEP - 1) * size, s, from, columns);
        load_writes(c, s, k, v, d, head, first, from, columns);
        load_rows(c->x, c->K, q + place(s, Q, head, first), s->strides[3 * Q + 2], s->K, c->n, s->factor);
        chunk_forward(c, state);
        store_outputs(c, s, y, total, head, first, from, columns);
    }
    store_state(state, c->V, final + head * size, s, from, columns);
}

static void steps(const Sizes *s, const real *q, const real *k, const real *v, const real *d, const real *initial,
                  real *y, real *final, real *total, int64_t threads) {
    int64_t size = s->K * (s->V + s->normalize);
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : s->B * s->H * size > 65536)
    for (int64_t head = 0; head < s->B * s->H; head++)
        step(s, q + place(s, Q, head, 0), k + place(s, KEY, head, 0), v + place(s, VALUE, head, 0),
             d ? d + place(s, DECAY, head, 0) : d, initial + head * size, y + place(s, OUT, head, 0),
             final + head * size, total ? total + head : total);
}

/* kept may be null when no backward follows, total without normalize. */
EXPORT(linear_attention)(const real *q, const real *k, const real *v, const real *d, const real *initial, real *y,
                         real *final, real *kept, real *total, const int64_t *sizes, double factor, int64_t threads) {
    const Sizes s = read_sizes(sizes, factor);
    if (s.T == 1) {
        steps(&s, q, k, v, d, initial, y, final, total, threads);
        return;
    }
    int64_t heads = MAX(s.B * s.H, 1), blocks = MIN((threads + heads - 1) / heads, (s.V + WIDE - 1) / WIDE);
    int64_t width = blocks > 1 ? padded((s.V + blocks - 1) / blocks) : s.V;
    int64_t Kp = padded(s.K), Vp = padded(width + s.normalize);
#pragma omp parallel num_threads(threads) if (parallel : s.B * s.H * s.T * s.K * s.V > 32768)
    {
        Chunk c;
        int64_t room = chunk_layout(&c, NULL, Kp, Vp, 1, (int)s.kind, 0);
        real *memory = allocate(room + Kp * Vp), *state = memory + room;
        chunk_layout(&c, memory, Kp, Vp, 1, (int)s.kind, 0);
#pragma omp for schedule(static)
        for (int64_t task = 0; task < s.B * s.H * blocks; task++) {
            int64_t from = task % blocks * width;
            if (from < s.V || !from)
                head_forward(&c, state, &s, q, k, v, d, initial, y, final, kept, total, task / blocks, from,
                             MIN(width, s.V - from));
        }
        release(memory);
    }
}

/* The gradient of y, divided by the total, and that of the total in its column. */
static void load_grad(const Chunk *c, const Sizes *s, const real *grad, const real *y, const real *total, int64_t head,
                      int64_t first) {
    int64_t V = s->V, grad_step = s->strides[3 * GRAD_OUT + 2], step = s->strides[3 * OUT + 2];
    grad += place(s, GRAD_OUT, head, first);
    y += place(s, OUT, head, first);
    for (int64_t t = 0; t < c->n; t++) {
        real *row = c->grad_values + t * c->V;
        if (s->normalize) {
            real sum = -inner(grad + t * grad_step, y + t * step, V), by = total[head * s->T + first + t];
            divide(row, grad + t * grad_step, by, V);
            divide(row + V, &sum, by, 1);
        } else {
            memcpy(row, grad + t * grad_step, V * sizeof(real));
        }
    }
}

typedef struct {
    const real *q, *k, *v, *d, *initial, *y, *kept, *total, *grad_y, *grad_final;
    real *grad_q, *grad_k, *grad_v, *grad_d, *grad_initial;
} Gradients;

static void store_grads(const Chunk *c, const Sizes *s, const Gradients *g, int64_t head, int64_t first) {
    const int64_t *strides = s->strides;
    store_rows(g->grad_q + place(s, GRAD_Q, head, first), strides[3 * GRAD_Q + 2], c->grad_x, c->K, s->K, c->n,
               s->factor);
    store_rows(g->grad_k + place(s, GRAD_KEY, head, first), strides[3 * GRAD_KEY + 2], c->grad_z, c->K, s->K, c->n, 1);
    store_rows(g->grad_v + place(s, GRAD_VALUE, head, first), strides[3 * GRAD_VALUE + 2],
               value_of(c->grad_values, c, 0), c->V, s->V, c->n, 1);
    if (!g->grad_d) return;
    int64_t columns = c->decay == VECTOR ? s->K : 1;
    store_rows(g->grad_d + (head * s->T + first) * columns, columns, c->grad_log, c->K, columns, c->n, 1);
}

/* All chunks of a head, from the last: KEEP tokens at a time, whose states are run again from the one that was kept. */
static void head_backward(Chunk *c, real *states, const Sizes *s, const Gradients *g, int64_t head) {
    int64_t W = s->V + s->normalize, size = s->K * W, area = c->K * c->V, keeps = (s->T - 1) / KEEP;
    real *grad = states + KEEP / CHUNK * area, *grad_t = grad + area;
    load_grad_state(grad, grad_t, c, g->grad_final ? g->grad_final + head * size : NULL, s);
    for (int64_t part = keeps; part >= 0; part--) {
        int64_t start = part * KEEP, chunks = (MIN(KEEP, s->T - start) + CHUNK - 1) / CHUNK;
        const real *from = part ? g->kept + (head * keeps + part - 1) * size : g->initial + head * size;
        load_transposed(states, c, from, s);
        for (int64_t i = 1; i < chunks; i++) {
            memcpy(states + i * area, states + (i - 1) * area, area * sizeof(real));
            load_writes(c, s, g->k, g->v, g->d, head, start + (i - 1) * CHUNK, 0, s->V);
            chunk_state(c, states + i * area);
        }
        for (int64_t i = chunks - 1; i >= 0; i--) {
            int64_t first = start + i * CHUNK;
            load_writes(c, s, g->k, g->v, g->d, head, first, 0, s->V);
            load_rows(c->x, c->K, g->q + place(s, Q, head, first), s->strides[3 * Q + 2], s->K, c->n, s->factor);
            load_grad(c, s, g->grad_y, g->y, g->total, head, first);
            chunk_backward(c, states + i * area, grad, grad_t, g->grad_d != NULL);
            store_grads(c, s, g, head, first);
        }
    }
    store_state(grad, c->V, g->grad_initial + head * size, s, 0, s->V);
}

/* grad_final and grad_d, which is contiguous, may be null. */
EXPORT(linear_attention_backward)(const real *q, const real *k, const real *v, const real *d, const real *initial,
                                  const real *y, const real *kept, const real *total, const real *grad_y,
                                  const real *grad_final, real *grad_q, real *grad_k, real *grad_v, real *grad_d,
                                  real *grad_initial, const int64_t *sizes, double factor, int64_t threads) {
    const Sizes s = read_sizes(sizes, factor);
    const Gradients g = {q,          k,      v,      d,      initial, y,           kept, total, grad_y,
                         grad_final, grad_q, grad_k, grad_v, grad_d,  grad_initial};
    int64_t Kp = padded(s.K), Vp = padded(s.V + s.normalize);
#pragma omp parallel num_threads(threads) if (parallel : s.B * s.H * s.T * s.K * s.V > 32768)
    {
        Chunk c;
        int64_t room = chunk_layout(&c, NULL, Kp, Vp, 1, (int)s.kind, 1);
        real *memory = allocate(room + (KEEP / CHUNK + 2) * Kp * Vp), *states = memory + room;
        chunk_layout(&c, memory, Kp, Vp, 1, (int)s.kind, 1);
#pragma omp for schedule(static)
        for (int64_t head = 0; head < s.B * s.H; head++) head_backward(&c, states, &s, &g, head);
        release(memory);
    }
}
