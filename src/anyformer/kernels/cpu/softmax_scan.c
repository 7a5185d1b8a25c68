/* Softmax averages of all prefixes, and their adjoint.
 *
 * m_t = max(m_{t-1} + d_t, s_t), u_t = old_t u_{t-1} + new_t v_t, w_t = old_t w_{t-1} + new_t, with the weights
 * old_t = exp(m_{t-1} + d_t - m_t) and new_t = exp(s_t - m_t). The output is u_t / w_t; with a bonus it is the
 * average over the state before, decayed, and a token of score s_t + bonus.
 *
 * Values are (B, H, T, V) by strides, their last axis dense. Weights are per channel (W = V), and the loops run
 * over the channels; or shared by them (W = 1), and the exponentials of a chunk of steps run side by side. The
 * forward pass keeps the state at each chunk's start, as rows u, m, w; the backward recomputes the others. */
#include "real.h"

enum { CHUNK = 32, LANES = 64 }; /* steps between states that are kept; channels of one task */

static const real zeros[LANES];

/* Where one task reads and writes: addresses of the first step, and strides over time. */
typedef struct {
    const real *score, *v, *decay, *bonus;
    int64_t score_time, v_time, decay_time;
} Input;

typedef struct {
    real *m, *u, *w;
} State;

typedef struct {
    real top, old, new;
} Weights;

/* exp for arguments of at most zero, as precise as fast_exp */
#ifdef REAL_f32
static inline real decayed(real x) {
    int32_t bits;
    float p = exp_parts(x < -87.0f ? -87.0f : x, &bits), power;
    bits = (int32_t)((uint32_t)bits << 23) + 0x3F800000;
    memcpy(&power, &bits, 4);
    return x < -87.0f ? 0.0f : p * power;
}
#else
static inline real decayed(real x) { return fast_exp(x); }
#endif

/* Whether a is the larger of both; a NaN is, so that it stays. */
static inline int leads(real a, real b) { return (a >= b) | (a != a); }

/* The new maximum and both weights. One of them is one, or differs from it by the rounding of m + decay, for which
 * three terms of the series do; so one exponential gives both. Nothing seen (-inf) has no weight. What is not finite
 * (a score of inf is as large as itself, but inf - inf is no weight) is not hidden: both weights are formed from it. */
static inline Weights weigh(real m, real decay, real score) {
    real decayed_m = m + decay;
    int keeps = leads(decayed_m, score);
    real top = keeps ? decayed_m : score, base = top == -INFINITY ? 0 : top;
    real for_old = m - base + decay, for_new = score - base;
    real small = decayed(keeps ? for_new : for_old), r = keeps ? for_old : for_new;
    r = r < -1 ? -1 : r;
    r = r > 1 ? 1 : r;
    real large = top == -INFINITY ? 0 : 1 + r * (1 + r * (real)0.5);
    Weights result = {top, keeps ? large : small, keeps ? small : large};
    return result;
}

static inline real nonzero(real w) { return w == 0 ? 1 : w; }

/* One step of n channels. */
static inline void step(const Input *x, int64_t t, int64_t n, State s, real *restrict y) {
    const real *score = x->score + t * x->score_time, *v = x->v + t * x->v_time, *d = x->decay + t * x->decay_time;
    real *m = s.m, *u = s.u, *w = s.w;
    if (x->bonus) {
        const real *bonus = x->bonus;
        SIMD for (int64_t i = 0; i < n; i++) {
            Weights read = weigh(m[i], d[i], score[i] + bonus[i]);
            y[i] = (read.old * u[i] + read.new * v[i]) / nonzero(read.old * w[i] + read.new);
            Weights now = weigh(m[i], d[i], score[i]);
            m[i] = now.top;
            u[i] = now.old * u[i] + now.new * v[i];
            w[i] = now.old * w[i] + now.new;
        }
    } else {
        SIMD for (int64_t i = 0; i < n; i++) {
            Weights now = weigh(m[i], d[i], score[i]);
            m[i] = now.top;
            u[i] = now.old * u[i] + now.new * v[i];
            w[i] = now.old * w[i] + now.new;
            y[i] = u[i] / nonzero(w[i]);
        }
    }
}

/* The weights of some steps, shared by all channels: to keep, and to read, which are divided by their sum. */
typedef struct {
    real old[CHUNK], new[CHUNK], read_old[CHUNK], read_new[CHUNK], w[CHUNK]; /* w: before the step */
} Steps;

/* Steps t, t + 1, ...; m and w move on. */
static void shared_steps(const Input *x, int64_t t, int64_t steps, State s, Steps *out) {
    real m[CHUNK], score[CHUNK], decay[CHUNK], top = *s.m, w = *s.w, bonus = x->bonus ? *x->bonus : 0;
    for (int64_t i = 0; i < steps; i++) {
        m[i] = top;
        score[i] = x->score[(t + i) * x->score_time];
        decay[i] = x->decay[(t + i) * x->decay_time];
        top = leads(top + decay[i], score[i]) ? top + decay[i] : score[i];
    }
    SIMD for (int64_t i = 0; i < steps; i++) {
        Weights now = weigh(m[i], decay[i], score[i]), read = weigh(m[i], decay[i], score[i] + bonus);
        out->old[i] = now.old;
        out->new[i] = now.new;
        out->read_old[i] = read.old;
        out->read_new[i] = read.new;
    }
    for (int64_t i = 0; i < steps; i++) {
        out->w[i] = w;
        w = out->old[i] * w + out->new[i];
    }
    SIMD for (int64_t i = 0; i < steps; i++) {
        real sum = nonzero(out->read_old[i] * out->w[i] + out->read_new[i]);
        out->read_old[i] /= sum;
        out->read_new[i] /= sum;
    }
    *s.m = top;
    *s.w = w;
}

static void shared_forward(const Input *x, int64_t t, int64_t steps, int64_t n, State s, real *y, int64_t y_time) {
    Steps at;
    shared_steps(x, t, steps, s, &at);
    for (int64_t i = 0; i < steps; i++) {
        const real *v = x->v + (t + i) * x->v_time;
        real *u = s.u, *yt = y + (t + i) * y_time;
        real old = at.old[i], new = at.new[i], read_old = at.read_old[i], read_new = at.read_new[i];
        SIMD for (int64_t j = 0; j < n; j++) {
            yt[j] = read_old * u[j] + read_new * v[j];
            u[j] = old * u[j] + new * v[j];
        }
    }
}

/* The part of a tensor with strides of its own that one task works on. */
#define PART(x, from) ((x) + b * x##_b + h * x##_h + (from))

/* m, u, w hold the initial state and get the final one. y is (B, T, H, V); kept, the states at the starts of all
 * chunks but the first, (B, H, chunks - 1, V + 2 W). decay and bonus (H, W) may be null. */
EXPORT(softmax_scan)(const real *score, const real *v, const real *decay, const real *bonus, real *m, real *u,
                     real *w, real *y, real *kept, int64_t B, int64_t H, int64_t T, int64_t V, int64_t W,
                     int64_t score_b, int64_t score_h, int64_t score_time, int64_t v_b, int64_t v_h,
                     int64_t v_time, int64_t decay_b, int64_t decay_h, int64_t decay_time, int64_t threads) {
    int64_t shared = W == 1, width = shared ? V : LANES, blocks = (V + width - 1) / width;
    int64_t chunks = (T + CHUNK - 1) / CHUNK, row = V + 2 * W;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * H * T * V > 4096)
    for (int64_t task = 0; task < B * H * blocks; task++) {
        int64_t lead = task / blocks, b = lead / H, h = lead % H, first = task % blocks * width;
        int64_t n = MIN(width, V - first), weights = shared ? 1 : n, from = shared ? 0 : first;
        Input x = {PART(score, from), PART(v, first), decay ? PART(decay, from) : zeros,
                   bonus ? bonus + h * W + from : NULL, score_time, v_time, decay ? decay_time : 0};
        State s = {m + lead * W + from, u + lead * V + first, w + lead * W + from};
        real *out = y + (b * T * H + h) * V + first;
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            int64_t t = chunk * CHUNK, stop = MIN(T, t + CHUNK);
            if (chunk) {
                real *state = kept + (lead * (chunks - 1) + chunk - 1) * row;
                memcpy(state + first, s.u, n * sizeof(real));
                memcpy(state + V + from, s.m, weights * sizeof(real));
                memcpy(state + V + W + from, s.w, weights * sizeof(real));
            }
            if (shared) {
                shared_forward(&x, t, stop - t, n, s, out, H * V);
            } else {
                for (; t < stop; t++) step(&x, t, n, s, out + t * H * V);
            }
        }
    }
}

/* Where one task gets gradients from and adds or writes them to. */
typedef struct {
    const real *y;
    real *score, *v, *decay, *bonus, *u, *w;
    int64_t y_time, score_time, v_time, decay_time;
} Gradient;

/* Write a step's gradient of the decay, or add it to the sum over time. */
static void add_row(const Gradient *g, int64_t t, const real *row, int64_t n) {
    if (!g->decay) return;
    if (g->decay_time) {
        memcpy(g->decay + t * g->decay_time, row, n * sizeof(real));
    } else {
        SIMD for (int64_t j = 0; j < n; j++) g->decay[j] += row[j];
    }
}

/* One chunk of n channels, from its last step to its first; s is its first state, g->u and g->w the gradients of
 * its last and then of its first. */
static void chunk_backward(const Input *x, const Gradient *g, int64_t t0, int64_t steps, int64_t n, State s) {
    real old[CHUNK][LANES], new[CHUNK][LANES], u[CHUNK][LANES], w[CHUNK][LANES], a[CHUNK][LANES], b[CHUNK][LANES];
    real(*read_old)[LANES] = x->bonus ? a : old, (*read_new)[LANES] = x->bonus ? b : new;
    for (int64_t i = 0; i < steps; i++) {
        const real *score = x->score + (t0 + i) * x->score_time, *v = x->v + (t0 + i) * x->v_time;
        const real *d = x->decay + (t0 + i) * x->decay_time, *bonus = x->bonus;
        if (bonus) {
            SIMD for (int64_t j = 0; j < n; j++) {
                Weights read = weigh(s.m[j], d[j], score[j] + bonus[j]);
                a[i][j] = read.old;
                b[i][j] = read.new;
            }
        }
        SIMD for (int64_t j = 0; j < n; j++) {
            Weights now = weigh(s.m[j], d[j], score[j]);
            u[i][j] = s.u[j];
            w[i][j] = s.w[j];
            old[i][j] = now.old;
            new[i][j] = now.new;
            s.m[j] = now.top;
            s.u[j] = now.old * s.u[j] + now.new * v[j];
            s.w[j] = now.old * s.w[j] + now.new;
        }
    }
    for (int64_t i = steps - 1; i >= 0; i--) {
        int64_t t = t0 + i;
        const real *v = x->v + t * x->v_time, *grad_y = g->y + t * g->y_time;
        real *grad_u = g->u, *grad_w = g->w, *grad_bonus = g->bonus, grad_decay[LANES];
        real *grad_score = g->score + t * g->score_time, *grad_v = g->v + t * g->v_time;
        SIMD for (int64_t j = 0; j < n; j++) {
            real sum = nonzero(read_old[i][j] * w[i][j] + read_new[i][j]), scaled = grad_y[j] / sum;
            real y = (read_old[i][j] * u[i][j] + read_new[i][j] * v[j]) / sum;
            real by_old = scaled * read_old[i][j], by_new = scaled * read_new[i][j];
            real read = by_new * (v[j] - y);
            grad_bonus[j] += read;
            grad_score[j] = read + new[i][j] * (grad_u[j] * v[j] + grad_w[j]);
            grad_decay[j] = by_old * (u[i][j] - w[i][j] * y) + old[i][j] * (grad_u[j] * u[i][j] + grad_w[j] * w[i][j]);
            grad_v[j] = by_new + new[i][j] * grad_u[j];
            grad_u[j] = by_old + old[i][j] * grad_u[j];
            grad_w[j] = old[i][j] * grad_w[j] - by_old * y;
        }
        add_row(g, t, grad_decay, n);
    }
}

static void shared_backward(const Input *x, const Gradient *g, int64_t t0, int64_t steps, int64_t n, State s,
                            real *restrict scratch) {
    Steps at;
    shared_steps(x, t0, steps, s, &at);
    memcpy(scratch, s.u, n * sizeof(real));
    for (int64_t i = 0; i + 1 < steps; i++) {
        const real *v = x->v + (t0 + i) * x->v_time, *u = scratch + i * n;
        real *next = scratch + (i + 1) * n, old = at.old[i], new = at.new[i];
        SIMD for (int64_t j = 0; j < n; j++) next[j] = old * u[j] + new * v[j];
    }
    for (int64_t i = steps - 1; i >= 0; i--) {
        int64_t t = t0 + i;
        const real *v = x->v + t * x->v_time, *grad_y = g->y + t * g->y_time, *u = scratch + i * n;
        real *grad_u = g->u, *grad_v = g->v + t * g->v_time;
        real old = at.old[i], new = at.new[i], read_old = at.read_old[i], read_new = at.read_new[i], w = at.w[i];
        real past = *g->w * w, token = *g->w, past_read = 0, token_read = 0, along_y = 0;
#pragma omp simd reduction(+ : past, token, past_read, token_read, along_y)
        for (int64_t j = 0; j < n; j++) {
            real y = read_old * u[j] + read_new * v[j];
            past += grad_u[j] * u[j];
            token += grad_u[j] * v[j];
            past_read += grad_y[j] * (u[j] - w * y);
            token_read += grad_y[j] * (v[j] - y);
            along_y += grad_y[j] * y;
            grad_v[j] = read_new * grad_y[j] + new * grad_u[j];
            grad_u[j] = read_old * grad_y[j] + old * grad_u[j];
        }
        real grad_decay = read_old * past_read + old * past;
        g->score[t * g->score_time] = read_new * token_read + new * token;
        *g->bonus += read_new * token_read;
        *g->w = old * *g->w - read_old * along_y;
        add_row(g, t, &grad_decay, 1);
    }
}

/* The last states' gradients are in grad_u (B, H, V) and grad_w (B, H, W), which get the first states'. grad_score
 * and, with a decay of each step, grad_decay are (B, T, H, W), grad_v is (B, T, H, V). grad_bonus, and grad_decay
 * where it is the same at all steps, are zeros (B, H, W), which sums over time are added to. */
EXPORT(softmax_scan_backward)(
    const real *score, const real *v, const real *decay, const real *bonus, const real *m, const real *u,
    const real *w, const real *kept, const real *grad_y, real *grad_score, real *grad_v, real *grad_decay,
    real *grad_bonus, real *grad_u, real *grad_w, int64_t B, int64_t H, int64_t T, int64_t V, int64_t W,
    int64_t score_b, int64_t score_h, int64_t score_time, int64_t v_b, int64_t v_h, int64_t v_time,
    int64_t decay_b, int64_t decay_h, int64_t decay_time, int64_t grad_y_b, int64_t grad_y_h, int64_t grad_y_time,
    int64_t threads) {
    int64_t shared = W == 1, width = shared ? V : LANES, blocks = (V + width - 1) / width;
    int64_t chunks = (T + CHUNK - 1) / CHUNK, row = V + 2 * W;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * H * T * V > 4096)
    for (int64_t task = 0; task < B * H * blocks; task++) {
        int64_t lead = task / blocks, b = lead / H, h = lead % H, first = task % blocks * width;
        int64_t n = MIN(width, V - first), weights = shared ? 1 : n, from = shared ? 0 : first;
        int64_t by_time = (b * T * H + h) * W + from, by_lead = lead * W + from;
        Input x = {PART(score, from), PART(v, first), decay ? PART(decay, from) : zeros,
                   bonus ? bonus + h * W + from : NULL, score_time, v_time, decay ? decay_time : 0};
        Gradient g = {PART(grad_y, first), grad_score + by_time, grad_v + (b * T * H + h) * V + first,
                      decay ? grad_decay + (decay_time ? by_time : by_lead) : NULL, grad_bonus + by_lead,
                      grad_u + lead * V + first, grad_w + by_lead, grad_y_time, H * W, H * V,
                      decay_time ? H * W : 0};
        real *scratch = malloc((2 * weights + n + (shared ? CHUNK * n : 0)) * sizeof(real));
        State s = {scratch, scratch + 2 * weights, scratch + weights};
        for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
            const real *state = chunk ? kept + (lead * (chunks - 1) + chunk - 1) * row : NULL;
            memcpy(s.u, (state ? state : u + lead * V) + first, n * sizeof(real));
            memcpy(s.m, (state ? state + V : m + lead * W) + from, weights * sizeof(real));
            memcpy(s.w, (state ? state + V + W : w + lead * W) + from, weights * sizeof(real));
            int64_t t = chunk * CHUNK, steps = MIN(CHUNK, T - t);
            if (shared) {
                shared_backward(&x, &g, t, steps, n, s, scratch + 2 + n);
            } else {
                chunk_backward(&x, &g, t, steps, n, s);
            }
        }
        free(scratch);
    }
}
