/* The recurrence of Mamba, h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t, and its adjoint. With
 * `dt_softplus` dt is softplus of what is given; with a gate y_t is multiplied by silu(gate_t).
 *
 * x, dt, y are (B, T, D), A is (D, K), states are (B, D, K); B_ and C_ (B, T, K) and gate (B, T, D) have strides of
 * their own. A vector holds neighbouring channels: a task takes LANES of them, with the states of all K beside each other as
 * [K][LANES], and runs along the time axis, so that nothing is summed across a vector. For the backward, the states
 * that chunks of C tokens start from are kept, (B, chunks) of D * K numbers, those of a task beside each other. */
#include "real.h"

enum { LANES = 256 / sizeof(real), HALF = LANES / 2, VECTOR = LANES / 4, AHEAD = 8 };

#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) (void)(address)
#endif

/* 2^z; zero below 2^-126.5, infinity above 2^127.5; one at zero. The exponentials here are most of the work, and A can
 * be scaled by log2(e) once, which saves what exp has to do to find its remainder. */
#ifdef REAL_f32
static const real LOG2E = 1.44269504088896341f;
static inline real exp2_small(real z) { /* |z| at most SMALL, or NaN */
    const float shift = 12583039.0f; /* 1.5 * 2^23 + 127: adding it rounds to an integer n, and leaves n + 127 below */
    float rounded = z + shift, r = z - (rounded - shift), scale;
    float p = 1.5353362e-4f; /* least relative error for |r| <= 1/2 with the constant 1 */
    p = p * r + 1.3398874e-3f;
    p = p * r + 9.6184369e-3f;
    p = p * r + 5.5503324e-2f;
    p = p * r + 2.4022648e-1f;
    p = p * r + 6.9314718e-1f;
    p = p * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &rounded, 4);
    bits <<= 23; /* the bits of 2^n: zero for n = -127, infinity for 128 */
    memcpy(&scale, &bits, 4);
    return p * scale;
}
static inline real exp2_of(real z) {
    float c = z > 128.0f ? 128.0f : z; /* NaN stays NaN */
    return exp2_small(c < -127.0f ? -127.0f : c);
}
#else
static const real LOG2E = 1.44269504088896340736;
static inline real exp2_of(real z) { return fast_exp(z * 6.93147180559945309417e-01); }
static inline real exp2_small(real z) { return exp2_of(z); }
#endif
static const real SMALL = 126;

/* The largest absolute value of n numbers, NaN apart. */
static inline real largest(const real *x, int64_t n) {
    real top = 0;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        real size = x[i] < 0 ? -x[i] : x[i];
        top = size > top ? size : top;
    }
    return top;
}

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

static inline void advance(real *restrict h, const real *restrict a, const real *restrict step, const real *restrict u,
                           const real *restrict Bt, const real *restrict Ct, real *restrict out, int64_t K, int small) {
#define ADVANCE(exp2)                                                                                                  \
    for (int64_t k = 0; k < K; k++) {                                                                                  \
        real b = Bt[k], c = Ct[k], *hk = h + k * LANES;                                                                \
        const real *ak = a + k * LANES;                                                                                \
        SIMD for (int64_t j = 0; j < LANES; j++) {                                                                     \
            real state = exp2(step[j] * ak[j]) * hk[j] + u[j] * b;                                                     \
            hk[j] = state;                                                                                             \
            out[j] += state * c;                                                                                       \
        }                                                                                                              \
    }
    if (small)
        ADVANCE(exp2_small)
    else
        ADVANCE(exp2_of)
#undef ADVANCE
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
        real steepest = largest(a, K * LANES);
        if (skip) take(weight, skip + first, n);
        for (int64_t t = 0; t < T; t++) {
            if (starts && t % C == 0)
                for (int64_t k = 0; k < K; k++)
                    put(starts + ((b * chunks + t / C) * D + first) * K + k * n, h + k * LANES, n);
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
            int small = largest(step, LANES) * steepest <= SMALL;
            advance(h, a, step, u, B_ + b * b_batch + t * b_time, C_ + b * c_batch + t * c_time, out, K, small);
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

/* What the backward of one chunk of one block holds, [token][lane]: the steps, u = dt x, the gradient of y before the
 * gate, C_t h_t, and the gradients of u and of the exponents' dt. It goes through them once for each k, HALF lanes at a
 * time, so that they stay in the first cache and what runs along the tokens stays in registers. */
struct chunk {
    real *steps, *u, *grad, *outs, *grad_u, *grad_step;
};

/* The rows of one chunk of one block, at its first token; gate and grad_gate may be null. */
struct rows {
    const real *grad, *x, *dt, *gate, *weight;
    real *grad_x, *grad_dt, *grad_gate;
    int64_t g_time, next; /* how far on the rows lie that will be read after these */
};

/* Lane j of token t, where HALF lanes of all C tokens come before the others. */
#define PLACE(t, j) ((j) / HALF * C * HALF + (t) * HALF + (j) % HALF)

static void read_chunk(struct chunk w, struct rows r, int64_t C, int64_t D, int64_t n, int64_t dt_softplus) {
    for (int64_t i = r.gate ? 0 : 1; i < 3; i++) {
        real *zeros[3] = {w.outs, w.grad_u, w.grad_step};
        memset(zeros[i], 0, C * LANES * sizeof(real));
    }
    for (int64_t t = 0; t < C; t++) {
        real x[LANES], step[LANES], grad[LANES], gate[LANES];
        take(x, r.x + t * D, n);
        take(step, r.dt + t * D, n);
        take(grad, r.grad + t * D, n);
        if (dt_softplus) {
            SIMD for (int64_t j = 0; j < LANES; j++) step[j] = softplus_of(step[j]);
        }
        SIMD for (int64_t j = 0; j < LANES; j++) x[j] *= step[j];
        if (r.gate) {
            take(gate, r.gate + t * r.g_time, n);
            SIMD for (int64_t j = 0; j < LANES; j++) grad[j] *= gate[j] * sigmoid_of(gate[j]);
        }
        for (int64_t j = 0; j < LANES; j += HALF) {
            memcpy(w.steps + PLACE(t, j), step + j, HALF * sizeof(real));
            memcpy(w.u + PLACE(t, j), x + j, HALF * sizeof(real));
            memcpy(w.grad + PLACE(t, j), grad + j, HALF * sizeof(real));
        }
    }
}

/* Ask for the rows of some tokens that are written after these, and for those that are read next, in two portions. Few
 * at a time, while there is something to compute, as only so many can be on their way. */
static inline void ask_for(struct rows r, int64_t from, int64_t to, int64_t D, int portion) {
    for (int64_t t = from; t < to; t++)
        for (int64_t j = 0; j < LANES; j += VECTOR) {
            if (portion == 0) {
                PREFETCH(r.x + t * D + r.next + j);
                PREFETCH(r.dt + t * D + r.next + j);
                PREFETCH(r.grad_dt + t * D + j);
            } else {
                PREFETCH(r.grad + t * D + r.next + j);
                PREFETCH(r.grad_x + t * D + j);
            }
        }
}

/* One k of HALF lanes along a chunk, forwards: the states before each token, their factors, and C_t h_t if asked.
 * Gives the state after the last token. */
static inline void along(const real *restrict step, const real *restrict u, real *restrict outs, real *restrict states,
                         real *restrict factors, real *restrict h, const real *restrict a, const real *restrict Bt,
                         const real *restrict Ct, int64_t b_time, int64_t c_time, int64_t C, int small) {
#define ALONG(exp2)                                                                                                    \
    for (int64_t t = 0; t < C; t++) {                                                                                  \
        real b = Bt[t * b_time];                                                                                       \
        SIMD for (int64_t j = 0; j < HALF; j++) {                                                                      \
            real e = exp2(step[t * HALF + j] * a[j]);                                                                  \
            factors[t * HALF + j] = e;                                                                                 \
            states[t * HALF + j] = h[j];                                                                               \
            h[j] = e * h[j] + u[t * HALF + j] * b;                                                                     \
        }                                                                                                              \
        if (outs) {                                                                                                    \
            real c = Ct[t * c_time];                                                                                   \
            SIMD for (int64_t j = 0; j < HALF; j++) outs[t * HALF + j] += h[j] * c;                                    \
        }                                                                                                              \
    }
    if (small)
        ALONG(exp2_small)
    else
        ALONG(exp2_of)
#undef ALONG
}

/* And backwards, from the state after the last token: g is the gradient that runs back. The sums start at zero with the
 * first lanes. */
static inline void along_back(const real *restrict step, const real *restrict u, const real *restrict grad,
                              real *restrict grad_u, real *restrict grad_step, const real *restrict states,
                              const real *restrict factors, const real *restrict h, real *restrict g,
                              real *restrict grad_a, const real *restrict a, const real *restrict Bt,
                              const real *restrict Ct, int64_t b_time, int64_t c_time, int64_t C,
                              real *restrict sums_b, real *restrict sums_c, int64_t first) {
    real after[2][VECTOR], now[2][VECTOR], of_a[2][VECTOR], run[2][VECTOR];
    for (int64_t v = 0; v < 2; v++)
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            int64_t j = v * VECTOR + i;
            after[v][i] = h[j], run[v][i] = g[j], of_a[v][i] = grad_a[j], now[v][i] = a[j];
        }
    for (int64_t t = C - 1; t >= 0; t--) {
        real b = Bt[t * b_time], c = Ct[t * c_time];
#define BACK(v)                                                                                                        \
    {                                                                                                                  \
        int64_t j = t * HALF + v * VECTOR + i;                                                                         \
        real gy = grad[j], before = states[j], back = run[v][i] + gy * c;                                              \
        sum_c += gy * after[v][i];                                                                                     \
        sum_b += u[j] * back;                                                                                          \
        grad_u[j] += back * b;                                                                                         \
        back *= factors[j];                                                                                            \
        run[v][i] = back;                                                                                              \
        back *= before;                                                                                                \
        grad_step[j] += back * now[v][i];                                                                              \
        of_a[v][i] += back * step[j];                                                                                  \
        after[v][i] = before;                                                                                          \
    }
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            real sum_b = first ? 0 : sums_b[t * VECTOR + i], sum_c = first ? 0 : sums_c[t * VECTOR + i];
            BACK(0) BACK(1)
            sums_b[t * VECTOR + i] = sum_b, sums_c[t * VECTOR + i] = sum_c;
        }
#undef BACK
    }
    for (int64_t v = 0; v < 2; v++)
        SIMD for (int64_t i = 0; i < VECTOR; i++) {
            int64_t j = v * VECTOR + i;
            g[j] = run[v][i], grad_a[j] = of_a[v][i];
        }
}

/* From the gradients of u and of the exponents' dt to those of x, dt, skip and gate. */
static void write_chunk(struct chunk w, struct rows r, real *restrict grad_skip, int64_t C, int64_t D, int64_t n,
                        int64_t dt_softplus) {
    for (int64_t t = 0; t < C; t++) {
        real x[LANES], raw[LANES], step[LANES], grad[LANES], grad_u[LANES], grad_step[LANES];
        for (int64_t j = 0; j < LANES; j += HALF) {
            memcpy(step + j, w.steps + PLACE(t, j), HALF * sizeof(real));
            memcpy(grad + j, w.grad + PLACE(t, j), HALF * sizeof(real));
            memcpy(grad_u + j, w.grad_u + PLACE(t, j), HALF * sizeof(real));
            memcpy(grad_step + j, w.grad_step + PLACE(t, j), HALF * sizeof(real));
        }
        take(x, r.x + t * D, n);
        if (r.gate) {
            real gate[LANES], outer[LANES];
            take(gate, r.gate + t * r.g_time, n);
            take(outer, r.grad + t * D, n);
            for (int64_t j = 0; j < LANES; j += HALF) memcpy(raw + j, w.outs + PLACE(t, j), HALF * sizeof(real));
            SIMD for (int64_t j = 0; j < LANES; j++) {
                real sigmoid = sigmoid_of(gate[j]);
                outer[j] *= sigmoid * (1 + gate[j] * (1 - sigmoid)) * (raw[j] + r.weight[j] * x[j]);
            }
            put(r.grad_gate + t * D, outer, n);
        }
        SIMD for (int64_t j = 0; j < LANES; j++) {
            grad_skip[j] += grad[j] * x[j];
            grad[j] = grad[j] * r.weight[j] + grad_u[j] * step[j];
            grad_step[j] = grad_step[j] / LOG2E + grad_u[j] * x[j];
        }
        put(r.grad_x + t * D, grad, n);
        if (dt_softplus) {
            take(raw, r.dt + t * D, n);
            SIMD for (int64_t j = 0; j < LANES; j++) grad_step[j] *= sigmoid_of(raw[j]);
        }
        put(r.grad_dt + t * D, grad_step, n);
    }
}

/* VECTOR partial sums of each k and token, [K][C][VECTOR], to one, (C, K). */
static void reduce(const real *restrict sums, real *restrict out, int64_t C, int64_t K) {
    for (int64_t k = 0; k < K; k++)
        for (int64_t t = 0; t < C; t++) {
            real sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t v = 0; v < VECTOR; v++) sum += sums[(k * C + t) * VECTOR + v];
            out[t * K + k] = sum;
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
    int64_t of_blocks = blocks * (3 * whole + LANES), of_chunk = 6 * C * LANES + 2 * C * HALF + 2 * C * K * VECTOR;
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : B * T * D * K > 8192)
    for (int64_t task = 0; task < B * groups; task++) {
        int64_t b = task / groups, group = task % groups, first = group * width, n = MIN(width, D - first);
        void *memory = malloc((of_blocks + of_chunk) * sizeof(real) + 64);
        real *a = aligned(memory), *g = a + blocks * whole, *grad_a = g + blocks * whole;
        real *sum_skip = grad_a + blocks * whole, *held = sum_skip + blocks * LANES, *states = held + 6 * C * LANES;
        real *factors = states + C * HALF, *sums_b = factors + C * HALF, *sums_c = sums_b + C * K * VECTOR;
        struct chunk w = {held, held + C * LANES, held + 2 * C * LANES, held + 3 * C * LANES, held + 4 * C * LANES,
                          held + 5 * C * LANES};
        memset(grad_a, 0, blocks * (whole + LANES) * sizeof(real));
        for (int64_t i = 0; i * LANES < n; i++) {
            int64_t d = first + i * LANES, some = MIN(LANES, D - d);
            spread(a + i * whole, A + d * K, some, K, LOG2E);
            spread(g + i * whole, grad_final + (b * D + d) * K, some, K, 1);
        }
        for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
            int64_t t = chunk * C, tokens = MIN(C, T - t), out = ((group * B + b) * T + t) * K;
            for (int64_t i = 0; i * LANES < n; i++) {
                int64_t d = first + i * LANES, some = MIN(LANES, D - d), row = (b * T + t) * D + d;
                real weight[LANES] = {0};
                struct rows r = {grad + row, x + row, dt + row, gate ? gate + b * g_batch + t * g_time + d : NULL, weight,
                                 grad_x + row, grad_dt + row, gate ? grad_gate + row : NULL, g_time,
                                 (i + 1) * LANES < n ? LANES : -C * D - i * LANES};
                if (skip) take(weight, skip + d, some);
                read_chunk(w, r, tokens, D, some, dt_softplus);
                int small = largest(w.steps, tokens * LANES) * largest(a + i * whole, whole) <= SMALL;
                for (int64_t j = 0; j < LANES; j += HALF)
                    for (int64_t k = 0; k < K; k++) {
                        int64_t at = i * whole + k * LANES + j, part = j * tokens;
                        const real *Bt = B_ + b * b_batch + t * b_time + k, *Ct = C_ + b * c_batch + t * c_time + k;
                        real h[HALF] = {0}, *outs = gate ? w.outs + part : NULL;
                        if (some > j)
                            memcpy(h, starts + ((b * chunks + chunk) * D + d) * K + k * some + j,
                                   MIN(HALF, some - j) * sizeof(real));
                        int64_t turn = j / HALF * K + k, turns = LANES / HALF * K;
                        int64_t from = turn * tokens / turns, to = (turn + 1) * tokens / turns;
                        ask_for(r, from, to, D, 0);
                        along(w.steps + part, w.u + part, outs, states, factors, h, a + at, Bt, Ct, b_time, c_time,
                              tokens, small);
                        ask_for(r, from, to, D, 1);
                        along_back(w.steps + part, w.u + part, w.grad + part, w.grad_u + part, w.grad_step + part, states,
                                   factors, h, g + at, grad_a + at, a + at, Bt, Ct, b_time, c_time, tokens,
                                   sums_b + k * tokens * VECTOR, sums_c + k * tokens * VECTOR, i + j == 0);
                    }
                write_chunk(w, r, sum_skip + i * LANES, tokens, D, some, dt_softplus);
            }
            reduce(sums_b, grad_B + out, tokens, K);
            reduce(sums_c, grad_C + out, tokens, K);
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
