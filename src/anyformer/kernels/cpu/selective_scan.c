/* The recurrence of Mamba, h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t, and its adjoint. With
 * `dt_softplus` dt is softplus of what is given; with a gate y_t is multiplied by silu(gate_t).
 *
 * x, dt, y are (B, T, D), A is (D, K), states are (B, D, K); B_ and C_ (B, T, K) and gate (B, T, D) have strides of
 * their own. A vector holds neighbouring channels: a task takes LANES of them, with the states of all K beside each other as
 * [K][LANES], and runs along the time axis, so that nothing is summed across a vector. For the backward, the states
 * that chunks of C tokens start from are kept, (B, chunks, K, D). */
#include "real.h"

enum { LANES = 256 / sizeof(real), VECTOR = LANES / 4, AHEAD = 8 };

#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) (void)(address)
#endif

/* 2^z; zero below the smallest normal number, infinity above the largest; one at zero. The exponentials here are most
 * of the work, and A can be scaled by log2(e) once, which saves what exp has to do to find its remainder. */
#ifdef REAL_f32
static const real LOG2E = 1.44269504088896341f;
static inline real exp2_of(real z) {
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
    float c = z < -126.0f ? -126.0f : z;
    c = c > 127.99999f ? 127.99999f : c;
    float rounded = c + shift, r = c - (rounded - shift);
    float p = 1.5353362e-4f; /* least relative error for |r| <= 1/2 with the constant 1 */
    p = p * r + 1.3398874e-3f;
    p = p * r + 9.6184369e-3f;
    p = p * r + 5.5503324e-2f;
    p = p * r + 2.4022648e-1f;
    p = p * r + 6.9314718e-1f;
    p = p * r + 1.0f;
    int32_t n, bits;
    memcpy(&n, &rounded, 4);
    memcpy(&bits, &p, 4);
    bits += (int32_t)((uint32_t)n << 23); /* the rest of shift's bits leaves on the left */
    memcpy(&p, &bits, 4);
    p = z < -126.0f ? 0.0f : p;
    return z >= 128.0f ? INFINITY : p;
}
#else
static const real LOG2E = 1.44269504088896340736;
static inline real exp2_of(real z) { return fast_exp(z * 6.93147180559945309417e-01); }
#endif

/* log(1 + exp(x)) = max(x, 0) + log1p(e), e = exp(-|x|), by log1p(e) = 2 atanh(e / (2 + e)), whose series converges
 * quickly as e / (2 + e) is at most 1/3. Zero at -infinity. */
static inline real softplus_of(real x) {
    const int terms = sizeof(real) == 4 ? 7 : 16;
    real e = fast_exp(x < 0 ? x : -x), s = e / (2 + e), p = 0;
    for (int i = terms - 1; i >= 0; i--) p = p * (s * s) + (real)2 / (2 * i + 1);
    return p * s + (x > 0 ? x : 0);
}

static inline real sigmoid_of(real x) { return 1 / (1 + fast_exp(-x)); }

/* A row of n numbers, at most LANES, and zeros; and back. */
static inline void take(real *restrict lanes, const real *restrict row, int64_t n) {
    if (n == LANES) {
        memcpy(lanes, row, LANES * sizeof(real));
    } else {
        for (int64_t j = 0; j < LANES; j++) lanes[j] = j < n ? row[j] : 0;
    }
}

static inline void put(real *restrict row, const real *restrict lanes, int64_t n) {
    if (n == LANES)
        memcpy(row, lanes, LANES * sizeof(real));
    else
        memcpy(row, lanes, n * sizeof(real));
}

/* (n, K) as [K][LANES], zeros beyond n, times a factor; and back. rows may be null, for zeros. */
static void spread(real *restrict lanes, const real *restrict rows, int64_t n, int64_t K, real factor) {
    if (!rows || n < LANES) memset(lanes, 0, K * LANES * sizeof(real));
    for (int64_t j = 0; rows && j < n; j++)
        for (int64_t k = 0; k < K; k++) lanes[k * LANES + j] = rows[j * K + k] * factor;
}

static void gather(real *restrict rows, const real *restrict lanes, int64_t n, int64_t K, real factor) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t k = 0; k < K; k++) rows[j * K + k] = lanes[k * LANES + j] * factor;
}

/* Memory on the boundary of a cache line, inside a block to be freed. */
static real *aligned(void *block) { return (real *)(((uintptr_t)block + 63) & ~(uintptr_t)63); }

static inline void advance(real *restrict h, const real *restrict a, const real *restrict step, const real *restrict u,
                           const real *restrict Bt, const real *restrict Ct, real *restrict out, int64_t K) {
    for (int64_t k = 0; k < K; k++) {
        real b = Bt[k], c = Ct[k], *hk = h + k * LANES;
        const real *ak = a + k * LANES;
        SIMD for (int64_t j = 0; j < LANES; j++) {
            real state = exp2_of(step[j] * ak[j]) * hk[j] + u[j] * b;
            hk[j] = state;
            out[j] += state * c;
        }
    }
}

/* skip, initial, gate and starts may be null. */
EXPORT(selective_scan)(const real *restrict x, const real *restrict dt, const real *restrict A,
                       const real *restrict B_, const real *restrict C_, const real *restrict skip,
                       const real *restrict initial, const real *restrict gate, real *restrict y,
                       real *restrict final, real *restrict starts, int64_t B, int64_t T, int64_t D, int64_t K,
                       int64_t b_batch, int64_t b_time, int64_t c_batch, int64_t c_time, int64_t g_batch,
                       int64_t g_time, int64_t C, int64_t dt_softplus, int64_t threads) {
    int64_t blocks = (D + LANES - 1) / LANES, chunks = (T + C - 1) / C;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D * K > 8192)
    for (int64_t task = 0; task < B * blocks; task++) {
        int64_t b = task / blocks, first = task % blocks * LANES, n = MIN(LANES, D - first);
        void *block = malloc(2 * K * LANES * sizeof(real) + 64);
        real *h = aligned(block), *a = h + K * LANES, weight[LANES] = {0};
        spread(h, initial ? initial + (b * D + first) * K : NULL, n, K, 1);
        spread(a, A + first * K, n, K, LOG2E);
        if (skip) take(weight, skip + first, n);
        for (int64_t t = 0; t < T; t++) {
            if (starts && t % C == 0)
                for (int64_t k = 0; k < K; k++)
                    put(starts + ((b * chunks + t / C) * K + k) * D + first, h + k * LANES, n);
            int64_t row = (b * T + t) * D + first;
            for (int64_t j = 0; j < LANES; j += VECTOR) {
                PREFETCH(x + row + AHEAD * D + j);
                PREFETCH(dt + row + AHEAD * D + j);
            }
            real step[LANES], u[LANES], out[LANES];
            take(step, dt + row, n);
            take(u, x + row, n);
            if (dt_softplus) {
                SIMD for (int64_t j = 0; j < LANES; j++) step[j] = softplus_of(step[j]);
            }
            SIMD for (int64_t j = 0; j < LANES; j++) {
                out[j] = weight[j] * u[j];
                u[j] *= step[j];
            }
            advance(h, a, step, u, B_ + b * b_batch + t * b_time, C_ + b * c_batch + t * c_time, out, K);
            if (gate) {
                take(u, gate + b * g_batch + t * g_time + first, n);
                SIMD for (int64_t j = 0; j < LANES; j++) out[j] *= u[j] * sigmoid_of(u[j]);
            }
            put(y + row, out, n);
        }
        gather(final + (b * D + first) * K, h, n, K, 1);
        free(block);
    }
}

/* What the backward of one task holds: for each block of channels A, the gradient that runs back, A's and skip's
 * gradients; for the tokens of one chunk of one block the states, their factors, the steps and C_t h_t, and the sums over all blocks that
 * give the gradients of B_ and C_, VECTOR partial sums for each. */
struct work {
    real *a, *g, *grad_a, *grad_skip, *states, *factors, *steps, *outs, *sums_b, *sums_c;
};

/* The rows of one chunk of one block, at its first token; gate and grad_gate may be null. */
struct rows {
    const real *grad, *x, *dt, *B_, *C_, *gate, *weight;
    real *grad_x, *grad_dt, *grad_gate;
    int64_t b_time, c_time, g_time;
};

/* One chunk of one block again, forwards: the states after each token behind the one before the first. */
static void again(struct work w, struct rows r, int64_t C, int64_t D, int64_t n, int64_t K, int64_t dt_softplus) {
    for (int64_t t = 0; t < C; t++) {
        real step[LANES], u[LANES], out[LANES] = {0};
        take(step, r.dt + t * D, n);
        take(u, r.x + t * D, n);
        if (dt_softplus) {
            SIMD for (int64_t j = 0; j < LANES; j++) step[j] = softplus_of(step[j]);
        }
        put(w.steps + t * LANES, step, LANES);
        SIMD for (int64_t j = 0; j < LANES; j++) u[j] *= step[j];
        for (int64_t k = 0; k < K; k++) {
            real b = r.B_[t * r.b_time + k], c = r.C_[t * r.c_time + k];
            const real *restrict ak = w.a + k * LANES, *restrict before = w.states + (t * K + k) * LANES;
            real *restrict after = w.states + ((t + 1) * K + k) * LANES;
            real *restrict factor = w.factors + (t * K + k) * LANES;
            SIMD for (int64_t j = 0; j < LANES; j++) {
                real e = exp2_of(step[j] * ak[j]);
                factor[j] = e;
                after[j] = e * before[j] + u[j] * b;
                out[j] += after[j] * c;
            }
        }
        put(w.outs + t * LANES, out, LANES);
    }
}

/* One token back: the gradients of u = dt x and of the exponents' dt, and everything else added to. What belongs to
 * the token stays in registers along all k, four vectors of it. */
static inline void retreat(struct work w, int64_t t, const real *restrict step, const real *restrict u,
                           const real *restrict grad, const real *restrict Bt, const real *restrict Ct,
                           real *restrict grad_u, real *restrict grad_step, int64_t K) {
    real s[4][VECTOR], x[4][VECTOR], gy[4][VECTOR], gu[4][VECTOR], gs[4][VECTOR];
    for (int64_t v = 0; v < 4; v++)
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            int64_t j = v * VECTOR + i;
            s[v][i] = step[j], x[v][i] = u[j], gy[v][i] = grad[j];
            gu[v][i] = gs[v][i] = 0;
        }
    for (int64_t k = 0; k < K; k++) {
        real b = Bt[k], c = Ct[k];
        const real *restrict before = w.states + (t * K + k) * LANES, *restrict after = before + K * LANES;
        const real *restrict factor = w.factors + (t * K + k) * LANES, *restrict a = w.a + k * LANES;
        real *restrict g = w.g + k * LANES, *restrict grad_a = w.grad_a + k * LANES;
        real *restrict sums_b = w.sums_b + (t * K + k) * VECTOR, *restrict sums_c = w.sums_c + (t * K + k) * VECTOR;
#define BACK(v)                                                                                                        \
    {                                                                                                                  \
        int64_t j = v * VECTOR + i;                                                                                    \
        real now = g[j] + gy[v][i] * c;                                                                                \
        sum_c += gy[v][i] * after[j];                                                                                  \
        sum_b += x[v][i] * now;                                                                                        \
        gu[v][i] += now * b;                                                                                           \
        now *= factor[j];                                                                                              \
        g[j] = now;                                                                                                    \
        now *= before[j];                                                                                              \
        gs[v][i] += now * a[j];                                                                                        \
        grad_a[j] += now * s[v][i];                                                                                    \
    }
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            real sum_b = sums_b[i], sum_c = sums_c[i];
            BACK(0) BACK(1) BACK(2) BACK(3)
            sums_b[i] = sum_b, sums_c[i] = sum_c;
        }
#undef BACK
    }
    for (int64_t v = 0; v < 4; v++)
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            int64_t j = v * VECTOR + i;
            grad_u[j] = gu[v][i], grad_step[j] = gs[v][i];
        }
}

/* One chunk of one block backwards. */
static void back(struct work w, struct rows r, int64_t C, int64_t D, int64_t n, int64_t K, int64_t dt_softplus) {
    for (int64_t t = C - 1; t >= 0; t--) {
        real x[LANES], u[LANES], grad[LANES], gate[LANES], outer[LANES], grad_u[LANES], grad_step[LANES];
        const real *restrict step = w.steps + t * LANES;
        take(x, r.x + t * D, n);
        take(grad, r.grad + t * D, n);
        SIMD for (int64_t j = 0; j < LANES; j++) u[j] = x[j] * step[j];
        if (r.gate) { /* grad: of y before the gate; outer: of the gate, if y were 1 */
            take(gate, r.gate + t * r.g_time, n);
            SIMD for (int64_t j = 0; j < LANES; j++) {
                real sigmoid = sigmoid_of(gate[j]);
                outer[j] = grad[j] * sigmoid * (1 + gate[j] * (1 - sigmoid));
                grad[j] *= gate[j] * sigmoid;
            }
        }
        retreat(w, t, step, u, grad, r.B_ + t * r.b_time, r.C_ + t * r.c_time, grad_u, grad_step, K);
        if (r.gate) {
            SIMD for (int64_t j = 0; j < LANES; j++) outer[j] *= w.outs[t * LANES + j] + r.weight[j] * x[j];
            put(r.grad_gate + t * D, outer, n);
        }
        SIMD for (int64_t j = 0; j < LANES; j++) {
            w.grad_skip[j] += grad[j] * x[j];
            grad[j] = grad[j] * r.weight[j] + grad_u[j] * step[j];
            grad_step[j] = grad_step[j] / LOG2E + grad_u[j] * x[j];
        }
        put(r.grad_x + t * D, grad, n);
        if (dt_softplus) {
            take(u, r.dt + t * D, n);
            SIMD for (int64_t j = 0; j < LANES; j++) grad_step[j] *= sigmoid_of(u[j]);
        }
        put(r.grad_dt + t * D, grad_step, n);
    }
}

/* VECTOR partial sums each, to one. */
static void reduce(const real *restrict sums, real *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t v = 0; v < VECTOR; v++) sum += sums[i * VECTOR + v];
        out[i] = sum;
    }
}

/* Each task takes `width` channels, a multiple of LANES, of one sample. grad_A is (B, D, K) and grad_skip (B, D), to be
 * summed over B; grad_B and grad_C are (tasks of a sample, B, T, K), to be summed over the tasks. skip and gate
 * may be null. */
EXPORT(selective_scan_backward)(const real *restrict grad, const real *restrict grad_final, const real *restrict x,
                                const real *restrict dt, const real *restrict A, const real *restrict B_,
                                const real *restrict C_, const real *restrict skip, const real *restrict gate,
                                const real *restrict starts, real *restrict grad_x, real *restrict grad_dt,
                                real *restrict grad_A, real *restrict grad_B, real *restrict grad_C,
                                real *restrict grad_skip, real *restrict grad_initial, real *restrict grad_gate,
                                int64_t B, int64_t T, int64_t D, int64_t K, int64_t b_batch, int64_t b_time,
                                int64_t c_batch, int64_t c_time, int64_t g_batch, int64_t g_time, int64_t C,
                                int64_t dt_softplus, int64_t width, int64_t threads) {
    int64_t groups = (D + width - 1) / width, chunks = (T + C - 1) / C, whole = K * LANES, blocks = width / LANES;
    int64_t of_blocks = blocks * (3 * whole + LANES), of_chunk = (2 * C + 1) * whole + 2 * C * LANES + 2 * C * K * VECTOR;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D * K > 8192)
    for (int64_t task = 0; task < B * groups; task++) {
        int64_t b = task / groups, group = task % groups, first = group * width, n = MIN(width, D - first);
        void *memory = malloc((of_blocks + of_chunk) * sizeof(real) + 64);
        struct work w;
        real *a = aligned(memory), *g = a + blocks * whole, *grad_a = g + blocks * whole;
        real *sum_skip = grad_a + blocks * whole;
        w.states = sum_skip + blocks * LANES;
        w.factors = w.states + (C + 1) * whole;
        w.steps = w.factors + C * whole;
        w.outs = w.steps + C * LANES;
        w.sums_b = w.outs + C * LANES;
        w.sums_c = w.sums_b + C * K * VECTOR;
        memset(grad_a, 0, blocks * (whole + LANES) * sizeof(real));
        for (int64_t i = 0; i * LANES < n; i++) {
            int64_t d = first + i * LANES, some = MIN(LANES, D - d);
            spread(a + i * whole, A + d * K, some, K, LOG2E);
            spread(g + i * whole, grad_final + (b * D + d) * K, some, K, 1);
        }
        for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
            int64_t t = chunk * C, tokens = MIN(C, T - t), out = ((group * B + b) * T + t) * K;
            const real *Bt = B_ + b * b_batch + t * b_time, *Ct = C_ + b * c_batch + t * c_time;
            memset(w.sums_b, 0, 2 * C * K * VECTOR * sizeof(real));
            for (int64_t i = 0; i * LANES < n; i++) {
                int64_t d = first + i * LANES, some = MIN(LANES, D - d), row = (b * T + t) * D + d;
                real weight[LANES] = {0};
                struct rows r = {grad + row, x + row, dt + row, Bt, Ct,
                                 gate ? gate + b * g_batch + t * g_time + d : NULL, weight,
                                 grad_x + row, grad_dt + row, gate ? grad_gate + row : NULL, b_time, c_time, g_time};
                if (skip) take(weight, skip + d, some);
                w.a = a + i * whole, w.g = g + i * whole, w.grad_a = grad_a + i * whole;
                w.grad_skip = sum_skip + i * LANES;
                for (int64_t k = 0; k < K; k++)
                    take(w.states + k * LANES, starts + ((b * chunks + chunk) * K + k) * D + d, some);
                again(w, r, tokens, D, some, K, dt_softplus);
                back(w, r, tokens, D, some, K, dt_softplus);
            }
            reduce(w.sums_b, grad_B + out, tokens * K);
            reduce(w.sums_c, grad_C + out, tokens * K);
        }
        for (int64_t i = 0; i * LANES < n; i++) {
            int64_t d = first + i * LANES, some = MIN(LANES, D - d);
            gather(grad_A + (b * D + d) * K, grad_a + i * whole, some, K, 1);
            gather(grad_initial + (b * D + d) * K, g + i * whole, some, K, 1);
            if (skip) put(grad_skip + b * D + d, sum_skip + i * LANES, some);
        }
        free(memory);
    }
}
