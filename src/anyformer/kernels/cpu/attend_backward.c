/* The gradients of attend.c: weights are recomputed from the log-sum-exps.
 *
 * ds_ij = p_ij (dy_i . v_j - delta_i), delta_i = dy_i . y_i - dlse_i */
#include "attend.h"

enum { PIECE = 1024 }; /* rows whose columns are packed at once, where a task has a whole head */

typedef struct {
    Rows rows;
    int finite;
    real shift[ROWS], delta[ROWS], grad_place[ROWS];
    real *grad, *grad_q, *p, *ds; /* (ROWS, wide_v), (ROWS, wide_k), (ROWS, COLUMNS) twice */
} Work;

static void load_grads(const Call *call, const real *y, const real *lse, const real *grad, const real *grad_lse,
                       int64_t wide_k, int64_t wide_v, Work *w) {
    const Sizes *n = call->n;
    int64_t b = w->rows.b, h = w->rows.h;
    w->finite = w->rows.finite;
    memset(w->grad, 0, ROWS * wide_v * sizeof(real));
    memset(w->grad_q, 0, ROWS * wide_k * sizeof(real));
    memset(w->grad_place, 0, sizeof(w->grad_place));
    for (int r = 0; r < ROWS; r++) {
        int64_t slot = w->rows.slot[r], at = (b * n->H + h) * n->T + slot;
        w->shift[r] = w->delta[r] = 0;
        if (slot < 0) continue;
        const real *dy = grad + b * n->grad[0] + h * n->grad[1] + slot * n->grad[2];
        const real *out = y + ((b * n->T + slot) * n->H + h) * n->V;
        real dot = 0;
        memcpy(w->grad + r * wide_v, dy, n->V * sizeof(real));
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < n->V; i++) dot += dy[i] * out[i];
        w->finite &= all_finite(dy, n->V);
        w->delta[r] = lse[at] == -INFINITY ? 0 : dot - (grad_lse ? grad_lse[at] : 0);
        w->shift[r] = lse[at] == -INFINITY ? 0 : lse[at];
    }
}

/* The gradient of the places of a group of rows, and of one head's columns. */
static void place_grads(const Work *w, int group, Range range, real *restrict to_rows, real *restrict to_columns) {
    for (int r = group; r < group + ROW_GROUP; r++) {
        const real *ds = w->ds + r * COLUMNS, *near = w->rows.near;
        real place = w->rows.place[r], sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = range.from; c < range.to; c++) {
            real signed_ds = place > near[c] ? ds[c] : place < near[c] ? -ds[c] : 0;
            sum -= signed_ds;
            to_columns[c] += signed_ds;
        }
        to_rows[r] += sum;
    }
}

/* Weights and the gradient of the scores of a group of rows; zero outside the range. */
static void group_scores(const Call *call, const Panel *panel, int64_t block, Work *w, int group, Range range) {
    int64_t wide_v = panel->wide_v;
    real *p = w->p + group * COLUMNS, *ds = w->ds + group * COLUMNS;
    const real *vt = panel->vt + block * COLUMNS * call->n->V;
    memset(p, 0, ROW_GROUP * COLUMNS * sizeof(real));
    memset(ds, 0, ROW_GROUP * COLUMNS * sizeof(real));
    if (range.from >= range.to) return;
    scores(call, panel, block, &w->rows, group, range, p);
    multiply(call->n->V, range.to - range.from, w->grad + group * wide_v, wide_v, 1, vt + range.from, COLUMNS,
             ds + range.from, COLUMNS, 0);
    for (int r = 0; r < ROW_GROUP; r++, p += COLUMNS, ds += COLUMNS) {
        real shift = w->shift[group + r], delta = w->delta[group + r];
        SIMD for (int c = range.from; c < range.to; c++) {
            p[c] = p[c] == -INFINITY ? 0 : fast_exp(p[c] - shift); /* hidden, even if the sum is NaN */
            ds[c] = p[c] == 0 ? 0 : p[c] * (ds[c] - delta);
        }
    }
}

static void product(int careful, int64_t M, int64_t N, const real *a, int64_t a_row, int64_t a_column, const real *b,
                    int64_t b_row, real *c) {
    if (careful) {
        multiply_careful(M, N, a, a_row, a_column, b, b_row, c, b_row);
    } else {
        multiply(M, N, a, a_row, a_column, b, b_row, c, b_row, 1);
    }
}

static void backward_block(const Call *call, Panel *panel, int64_t block, Work *w) {
    int64_t wide_k = panel->wide_k, wide_v = panel->wide_v, at = block * COLUMNS;
    int64_t columns = (panel->blocks + panel->extra_blocks) * COLUMNS, head = w->rows.h % (call->n->H / call->n->G);
    Range ranges[ROWS / ROW_GROUP];
    place_columns(call, panel, block, &w->rows);
    for (int group = 0; group < ROWS; group += ROW_GROUP) {
        Range range = group_range(panel, block, &w->rows, group);
        ranges[group / ROW_GROUP] = range;
        group_scores(call, panel, block, w, group, range);
        if (range.from >= range.to) continue;
        product(!(panel->finite[block] & 1), range.to - range.from, wide_k, w->ds + group * COLUMNS + range.from,
                COLUMNS, 1, panel->k + (at + range.from) * wide_k, wide_k, w->grad_q + group * wide_k);
        if (call->q_place) place_grads(w, group, range, w->grad_place, panel->grad_place + head * columns + at);
    }
    for (int c = 0; c < COLUMNS; c += ROW_GROUP) {
        int from = ROWS, to = 0;
        for (int group = 0; group < ROWS; group += ROW_GROUP) {
            Range range = ranges[group / ROW_GROUP];
            if (range.from >= c + ROW_GROUP || range.to <= c) continue;
            from = MIN(from, group);
            to = group + ROW_GROUP;
        }
        if (from >= to) continue;
        product(!w->finite, to - from, wide_v, w->p + from * COLUMNS + c, 1, COLUMNS, w->grad + from * wide_v, wide_v,
                panel->grad_v + (at + c) * wide_v);
        product(!w->finite, to - from, wide_k, w->ds + from * COLUMNS + c, 1, COLUMNS, w->rows.q + from * wide_k,
                wide_k, panel->grad_k + (at + c) * wide_k);
    }
}

static void backward_rows(const Call *call, Panel *panel, int64_t row, Work *w, real *grad_q, double *grad_place) {
    const Sizes *n = call->n;
    int64_t from, to, b = w->rows.b, h = w->rows.h;
    int extra;
    visible_blocks(call, panel, &w->rows, row, &from, &to, &extra);
    for (int64_t block = from; block < to; block++) backward_block(call, panel, block, w);
    for (int64_t e = 0; e < (extra ? panel->extra_blocks : 0); e++) backward_block(call, panel, panel->blocks + e, w);
    for (int r = 0; r < ROWS; r++) {
        int64_t slot = w->rows.slot[r];
        if (slot < 0) continue;
        real *out = grad_q + ((b * n->T + slot) * n->H + h) * n->K;
        for (int64_t i = 0; i < n->K; i++) out[i] = w->grad_q[r * panel->wide_k + i] * call->scale;
        if (call->q_place) grad_place[(b * n->H + h) * n->T + slot] = (double)w->grad_place[r];
    }
}

/* Add what a task has gathered for its columns, and free it. */
static void store_columns(const Sizes *n, int64_t b, int64_t g, Panel *panel, real *grad_k, real *grad_v,
                          double *grad_place) {
    int64_t columns = (panel->blocks + panel->extra_blocks) * COLUMNS, heads = n->H / n->G;
    for (int64_t c = 0; c < columns; c++) {
        int64_t slot = panel->slot[c], at = (b * n->S + slot) * n->G + g;
        if (slot < 0) continue;
        for (int64_t i = 0; i < n->K; i++) grad_k[at * n->K + i] += panel->grad_k[c * panel->wide_k + i];
        for (int64_t i = 0; i < n->V; i++) grad_v[at * n->V + i] += panel->grad_v[c * panel->wide_v + i];
        for (int64_t h = 0; h < (grad_place ? heads : 0); h++) {
            grad_place[(b * n->H + g * heads + h) * n->S + slot] += (double)panel->grad_place[h * columns + c];
        }
    }
    free(panel->memory);
}

/* Adds to grad_q (B, T, H, K), grad_k (B, S, G, K), grad_v (B, S, G, V) and the gradients of the places, which come as
 * zeros. */
EXPORT(attend_backward)(const real *q, const real *k, const real *v, const Span *spans, const int64_t *extra,
                        const int64_t *q_slot, const int64_t *k_slot, const double *q_place, const double *k_place,
                        const real *y, const real *lse, const real *grad, const real *grad_lse, real *grad_q,
                        real *grad_k, real *grad_v, double *grad_q_place, double *grad_k_place, const Sizes *n,
                        double scale, int64_t threads) {
    Call call = {n, q, k, v, spans, extra, q_slot, k_slot, q_place, k_place, (real)scale};
    int64_t heads = n->B * n->G;
    /* stretches of one head share columns, so that each has gradients of its own, added up at the end */
    int64_t stretches = heads >= 4 * threads || heads % threads == 0 ? 1 : (2 * threads + heads - 1) / heads;
    stretches = MIN(stretches, MAX(1, (n->R + 255) / 256));
    int64_t most = stretches == 1 ? PIECE : n->R;
    Panel *panels = reserve(heads * stretches * sizeof(Panel));
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t task = 0; task < heads * stretches; task++) {
        int64_t b = task / stretches / n->G, g = task / stretches % n->G, stretch = task % stretches;
        int64_t *first = reserve((stretches + 1) * sizeof(int64_t));
        split_rows(&call, b, stretches, first);
        Panel *panel = panels + task;
        int64_t wide_k = padded(n->K), wide_v = padded(n->V);
        Work w;
        void *memory = reserve(ROWS * (2 * wide_k + wide_v + 2 * COLUMNS) * sizeof(real));
        w.rows.q = aligned(memory);
        w.grad_q = w.rows.q + ROWS * wide_k;
        w.grad = w.grad_q + ROWS * wide_k;
        w.p = w.grad + ROWS * wide_v;
        w.ds = w.p + ROWS * COLUMNS;
        for (int64_t from = first[stretch], to; from < first[stretch + 1]; from = to) {
            to = MIN(from + most, first[stretch + 1]);
            pack_columns(&call, b, g, from, to, 1, panel);
            for (int64_t h = g * (n->H / n->G); h < (g + 1) * (n->H / n->G); h++) {
                for (int64_t row = from; row < to; row += ROWS) {
                    load_rows(&call, b, h, row, wide_k, &w.rows);
                    load_grads(&call, y, lse, grad, grad_lse, wide_k, wide_v, &w);
                    backward_rows(&call, panel, row, &w, grad_q, grad_q_place);
                }
            }
            if (stretches == 1) store_columns(n, b, g, panel, grad_k, grad_v, grad_k_place);
        }
        free(memory);
        free(first);
    }
    for (int64_t task = 0; stretches > 1 && task < heads * stretches; task++) {
        int64_t b = task / stretches / n->G, g = task / stretches % n->G;
        store_columns(n, b, g, panels + task, grad_k, grad_v, grad_k_place);
    }
    free(panels);
}
