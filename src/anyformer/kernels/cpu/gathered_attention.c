/* Softmax attention of each query over its own list of keys, and its adjoint. A slot below 0 is no key. */
#include "rows.h"

enum { ROWS = 64 };

/* As Python lays it out: sizes, then strides over batch, heads and time; last axes are contiguous. bias may be null. */
typedef struct {
    int64_t B, H, G, T, N, K, V;
    int64_t q[3], k[3], v[3], slots[3], bias[3], y[3], grad[3], grad_q[3], grad_k[3], grad_v[3];
} Sizes;

static inline int64_t at(const int64_t *stride, int64_t b, int64_t h, int64_t t) {
    return b * stride[0] + h * stride[1] + t * stride[2];
}

/* The scores of a query's list, -inf where there is no key. */
static inline void score_list(const Sizes *n, const real *q, const real *k, const int64_t *slots, const real *bias,
                              real scale, real *s) {
    for (int64_t i = 0; i < n->N; i++) {
        if (slots[i] < 0) {
            s[i] = -INFINITY;
            continue;
        }
        s[i] = inner(q, k + slots[i] * n->k[2], n->K) * scale + (bias ? bias[i] : 0);
    }
}

/* y (B, H, T, V), and lse (B, H, T), the log of the sum of each query's exponentials; zeros and -inf without keys. */
EXPORT(gathered_attention)(const real *q, const real *k, const real *v, const int64_t *slots, const real *bias, real *y,
                           real *lse, const int64_t *sizes, double scale, int64_t threads) {
    const Sizes *n = (const Sizes *)sizes;
    int64_t blocks = (n->T + ROWS - 1) / ROWS, work = n->B * n->H * n->T * n->N * (n->K + n->V);
#pragma omp parallel for num_threads(threads) schedule(static) if (parallel : work > 65536)
    for (int64_t task = 0; task < n->B * n->H * blocks; task++) {
        int64_t b = task / blocks / n->H, h = task / blocks % n->H, g = h / (n->H / n->G);
        int64_t first = task % blocks * ROWS, stop = MIN(first + ROWS, n->T);
        const real *keys = k + at(n->k, b, g, 0), *values = v + at(n->v, b, g, 0);
        real *s = malloc(n->N * sizeof(real));
        if (!s) abort();
        for (int64_t t = first; t < stop; t++) {
            const int64_t *list = slots + at(n->slots, b, h, t);
            real *out = y + at(n->y, b, h, t), top = -INFINITY, total = 0;
            score_list(n, q + at(n->q, b, h, t), keys, list, bias ? bias + at(n->bias, b, h, t) : 0, (real)scale, s);
            for (int64_t i = 0; i < n->N; i++) top = s[i] > top || s[i] != s[i] ? s[i] : top;
            memset(out, 0, n->V * sizeof(real));
            if (top == -INFINITY) {
                lse[(b * n->H + h) * n->T + t] = top;
                continue;
            }
#pragma omp simd reduction(+ : total)
            for (int64_t i = 0; i < n->N; i++) {
                s[i] = fast_exp(s[i] - top);
                total += s[i];
            }
            lse[(b * n->H + h) * n->T + t] = top + (real)log((double)total);
            total = 1 / total;
            for (int64_t i = 0; i < n->N; i++) {
                if (list[i] >= 0) add_scaled(out, s[i] * total, values + list[i] * n->v[2], n->V);
            }
        }
        free(s);
    }
}

/* With p = exp(s - lse) and d = grad . v, the gradient of a score is p (d - grad . y). grad_k and grad_v come as zeros;
 * grad_bias is (B, H, T, N), or null. */
EXPORT(gathered_attention_backward)(const real *q, const real *k, const real *v, const int64_t *slots, const real *bias,
                                    const real *y, const real *lse, const real *grad, real *grad_q, real *grad_k,
                                    real *grad_v, real *grad_bias, const int64_t *sizes, double scale,
                                    int64_t threads) {
    const Sizes *n = (const Sizes *)sizes;
    int64_t group = n->H / n->G, work = n->B * n->H * n->T * n->N * (n->K + n->V);
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (parallel : work > 65536)
    for (int64_t task = 0; task < n->B * n->G; task++) {
        int64_t b = task / n->G, g = task % n->G;
        const real *keys = k + at(n->k, b, g, 0), *values = v + at(n->v, b, g, 0);
        real *dkeys = grad_k + at(n->grad_k, b, g, 0), *dvalues = grad_v + at(n->grad_v, b, g, 0);
        real *s = malloc(n->N * sizeof(real));
        if (!s) abort();
        for (int64_t row = 0; row < group * n->T; row++) {
            int64_t h = g * group + row / n->T, t = row % n->T, index = (b * n->H + h) * n->T + t;
            const int64_t *list = slots + at(n->slots, b, h, t);
            const real *query = q + at(n->q, b, h, t), *dy = grad + at(n->grad, b, h, t);
            real *dq = grad_q + at(n->grad_q, b, h, t), *dbias = grad_bias ? grad_bias + index * n->N : 0;
            memset(dq, 0, n->K * sizeof(real));
            if (dbias) memset(dbias, 0, n->N * sizeof(real));
            if (lse[index] == -INFINITY) continue;
            score_list(n, query, keys, list, bias ? bias + at(n->bias, b, h, t) : 0, (real)scale, s);
            SIMD for (int64_t i = 0; i < n->N; i++) s[i] = fast_exp(s[i] - lse[index]);
            real mean = inner(dy, y + at(n->y, b, h, t), n->V);
            for (int64_t i = 0; i < n->N; i++) {
                if (list[i] < 0) continue;
                real ds = s[i] * (inner(dy, values + list[i] * n->v[2], n->V) - mean);
                add_scaled(dvalues + list[i] * n->grad_v[2], s[i], dy, n->V);
                add_scaled(dkeys + list[i] * n->grad_k[2], ds * (real)scale, query, n->K);
                add_scaled(dq, ds * (real)scale, keys + list[i] * n->k[2], n->K);
                if (dbias) dbias[i] = ds;
            }
        }
        free(s);
    }
}
