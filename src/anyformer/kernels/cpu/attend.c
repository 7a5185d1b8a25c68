/* Softmax attention where each query sees a span of the keys: y and the log-sum-exp of its scores. */
#include "attend.h"

static void pack_block(const Call *call, int64_t b, int64_t g, int backward, int64_t block, Panel *panel) {
    const Sizes *n = call->n;
    int64_t K = n->K, V = n->V, wide_k = panel->wide_k, wide_v = panel->wide_v;
    const int64_t *slot = panel->slot + block * COLUMNS;
    real *kt = panel->kt + block * COLUMNS * K, *v = panel->v + block * COLUMNS * wide_v;
    int finite = 3;
    for (int c = 0; c < COLUMNS; c++) {
        if (slot[c] < 0) continue;
        const real *key = call->k + b * n->k[0] + g * n->k[1] + slot[c] * n->k[2];
        const real *value = call->v + b * n->v[0] + g * n->v[1] + slot[c] * n->v[2];
        for (int64_t i = 0; i < K; i++) kt[i * COLUMNS + c] = key[i];
        memcpy(v + c * wide_v, value, V * sizeof(real));
        finite &= all_finite(key, K) | all_finite(value, V) << 1;
        if (!backward) continue;
        real *vt = panel->vt + block * COLUMNS * V;
        memcpy(panel->k + (block * COLUMNS + c) * wide_k, key, K * sizeof(real));
        for (int64_t i = 0; i < V; i++) vt[i * COLUMNS + c] = value[i];
    }
    panel->finite[block] = (char)finite;
}

/* Copy what rows [row, stop) can see. The caller frees panel->memory. */
void pack_columns(const Call *call, int64_t b, int64_t g, int64_t row, int64_t stop, int backward, Panel *panel) {
    const Sizes *n = call->n;
    int64_t low, high, K = n->K, V = n->V;
    visible_columns(call, b, row, stop, &low, &high);
    panel->first = low / COLUMNS * COLUMNS;
    panel->blocks = (high - panel->first + COLUMNS - 1) / COLUMNS;
    panel->extra_blocks = (n->E + COLUMNS - 1) / COLUMNS;
    panel->wide_k = padded(K);
    panel->wide_v = padded(V);
    int64_t blocks = panel->blocks + panel->extra_blocks, columns = blocks * COLUMNS;
    int64_t width = K + panel->wide_v, heads = call->q_place ? n->H / n->G : 0;
    if (backward) width += 2 * panel->wide_k + V + panel->wide_v + heads;
    panel->memory = reserve(columns * (width * sizeof(real) + sizeof(int64_t) + sizeof(int32_t)) + blocks);
    real *next = aligned(panel->memory);
    panel->kt = next, next += columns * K;
    panel->v = next, next += columns * panel->wide_v;
    if (backward) {
        panel->k = next, next += columns * panel->wide_k;
        panel->vt = next, next += columns * V;
        panel->grad_k = next, next += columns * panel->wide_k;
        panel->grad_v = next, next += columns * panel->wide_v;
        panel->grad_place = next, next += columns * heads;
    }
    panel->slot = (int64_t *)next;
    panel->number = (int32_t *)(panel->slot + columns);
    panel->finite = (char *)(panel->number + columns);
    for (int64_t c = 0; c < columns; c++) {
        int64_t e = c - panel->blocks * COLUMNS, number = panel->first + c;
        if (e >= 0) number = e < n->E ? call->extra[b * n->E + e] : -1;
        if (number >= n->S) number = -1;
        panel->number[c] = (int32_t)number;
        panel->slot[c] = number < 0 || !call->k_slot ? number : call->k_slot[b * n->S + number];
    }
    for (int64_t block = 0; block < blocks; block++) pack_block(call, b, g, backward, block, panel);
}

void load_rows(const Call *call, int64_t b, int64_t h, int64_t row, int64_t wide_k, Rows *rows) {
    const Sizes *n = call->n;
    rows->b = b, rows->h = h, rows->base = 0, rows->finite = 1;
    memset(rows->q, 0, ROWS * wide_k * sizeof(real));
    for (int r = ROWS - 1; r >= 0; r--) {
        int64_t slot = row + r >= n->R ? -1 : call->q_slot ? call->q_slot[b * n->R + row + r] : row + r;
        rows->slot[r] = slot;
        rows->span[r] = row_span(call, b, row + r);
        if (slot < 0) continue;
        const real *q = call->q + b * n->q[0] + h * n->q[1] + slot * n->q[2];
        real *scaled = rows->q + r * wide_k;
        for (int64_t i = 0; i < n->K; i++) scaled[i] = q[i] * call->scale;
        rows->finite &= all_finite(scaled, n->K);
        if (!call->q_place) continue;
        double q_place = call->q_place[(b * n->H + h) * n->T + slot];
        if (isfinite(q_place)) rows->base = q_place; /* one that is not is so for its own row alone */
    }
    if (!call->q_place) return;
    for (int r = 0; r < ROWS; r++) {
        int64_t slot = rows->slot[r];
        rows->place[r] = slot < 0 ? 0 : (real)(call->q_place[(b * n->H + h) * n->T + slot] - rows->base);
    }
}

void place_columns(const Call *call, const Panel *panel, int64_t block, Rows *rows) {
    if (!call->k_place) return;
    const double *place = call->k_place + (rows->b * call->n->H + rows->h) * call->n->S;
    for (int c = 0; c < COLUMNS; c++) {
        int64_t slot = panel->slot[block * COLUMNS + c];
        rows->near[c] = slot < 0 ? 0 : (real)(place[slot] - rows->base);
    }
}

/* The columns of a block that any row of a group sees, in whole vectors. */
Range group_range(const Panel *panel, int64_t block, const Rows *rows, int group) {
    int64_t base = panel->first + block * COLUMNS, low = COLUMNS, high = 0;
    int extra = block >= panel->blocks;
    for (int r = group; r < group + ROW_GROUP; r++) {
        Span span = rows->span[r];
        if (extra ? span.extra_low >= span.extra_high : span.low >= span.high) continue;
        low = extra ? 0 : MIN(low, span.low - base);
        high = extra ? COLUMNS : MAX(high, span.high - base);
    }
    if (extra && high) {
        while (high && panel->number[block * COLUMNS + high - 1] < 0) high--;
    }
    low = MAX(low, 0) / LANES * LANES;
    high = MIN((high + LANES - 1) / LANES * LANES, COLUMNS);
    Range range = {(int)low, (int)MAX(low, high)};
    return range;
}

/* s[r][c] of a group of rows, -inf where hidden; s has rows of COLUMNS. */
void scores(const Call *call, const Panel *panel, int64_t block, const Rows *rows, int group, Range range, real *s) {
    int64_t K = call->n->K, base = panel->first + block * COLUMNS;
    const real *kt = panel->kt + block * COLUMNS * K;
    const int32_t *number = panel->number + block * COLUMNS;
    multiply(K, range.to - range.from, rows->q + group * panel->wide_k, panel->wide_k, 1, kt + range.from, COLUMNS,
             s + range.from, COLUMNS, 0);
    for (int r = 0; r < ROW_GROUP; r++, s += COLUMNS) {
        Span span = rows->span[group + r];
        if (call->q_place) {
            real place = rows->place[group + r];
            const real *near = rows->near;
            SIMD for (int c = range.from; c < range.to; c++) {
                s[c] -= place > near[c] ? place - near[c] : near[c] - place;
            }
        }
        if (block < panel->blocks) {
            if (span.low <= base + range.from && span.high >= base + range.to) continue;
            int32_t low = (int32_t)(span.low - base), high = (int32_t)(span.high - base);
            SIMD for (int c = range.from; c < range.to; c++) s[c] = (c >= low) & (c < high) ? s[c] : -INFINITY;
        } else {
            SIMD for (int c = range.from; c < range.to; c++) {
                int32_t j = number[c];
                int listed = (j >= 0) & (j >= span.extra_low) & (j < span.extra_high);
                s[c] = listed & ((j < span.low) | (j >= span.high)) ? s[c] : -INFINITY;
            }
        }
    }
}

/* One block of columns into the running softmax of a group of rows. */
static void attend_group(const Panel *panel, int64_t block, Range range, real *restrict s, real *restrict top,
                         real *restrict total, real *restrict y) {
    int64_t wide_v = panel->wide_v;
    const real *v = panel->v + (block * COLUMNS + range.from) * wide_v;
    for (int r = 0; r < ROW_GROUP; r++) {
        real *row = s + r * COLUMNS, most = top[r], sum = 0;
#pragma omp simd reduction(max : most)
        for (int c = range.from; c < range.to; c++) most = row[c] > most ? row[c] : most;
        real shift = most == -INFINITY ? 0 : most;
        if (most > top[r]) {
            real fade = fast_exp(top[r] - shift);
            total[r] *= fade;
            SIMD for (int64_t i = 0; i < wide_v; i++) y[r * wide_v + i] *= fade;
            top[r] = most;
        }
#pragma omp simd reduction(+ : sum)
        for (int c = range.from; c < range.to; c++) {
            row[c] = fast_exp(row[c] - shift);
            sum += row[c];
        }
        total[r] += sum;
    }
    int64_t M = range.to - range.from;
    if (panel->finite[block] & 2) {
        multiply(M, wide_v, s + range.from, COLUMNS, 1, v, wide_v, y, wide_v, 1);
    } else {
        multiply_careful(M, wide_v, s + range.from, COLUMNS, 1, v, wide_v, y, wide_v);
    }
}

static void attend_rows(const Call *call, const Panel *panel, Rows *rows, int64_t row, real *restrict sum,
                        real *restrict y, real *restrict lse) {
    const Sizes *n = call->n;
    int64_t from, to, wide_v = panel->wide_v, b = rows->b, h = rows->h;
    int extra;
    real top[ROWS], total[ROWS], s[ROW_GROUP * COLUMNS];
    memset(sum, 0, ROWS * wide_v * sizeof(real));
    for (int r = 0; r < ROWS; r++) top[r] = -INFINITY, total[r] = 0;
    visible_blocks(call, panel, rows, row, &from, &to, &extra);
    int64_t steps = to - from + (extra ? panel->extra_blocks : 0);
    for (int64_t step = 0; step < steps; step++) {
        int64_t block = step < to - from ? from + step : panel->blocks + step - (to - from);
        place_columns(call, panel, block, rows);
        for (int group = 0; group < ROWS; group += ROW_GROUP) {
            Range range = group_range(panel, block, rows, group);
            if (range.from >= range.to) continue;
            scores(call, panel, block, rows, group, range, s);
            attend_group(panel, block, range, s, top + group, total + group, sum + group * wide_v);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        int64_t slot = rows->slot[r];
        if (slot < 0) continue;
        int nothing = total[r] == 0;
        real share = nothing ? 0 : 1 / total[r];
        real *out = y + ((b * n->T + slot) * n->H + h) * n->V;
        for (int64_t i = 0; i < n->V; i++) out[i] = sum[r * wide_v + i] * share;
        lse[(b * n->H + h) * n->T + slot] = nothing ? -INFINITY : (real)log((double)total[r]) + top[r];
    }
}

/* y (B, T, H, V) and lse (B, H, T); only the slots of the rows are written. */
EXPORT(attend)(const real *q, const real *k, const real *v, const Span *spans, const int64_t *extra,
               const int64_t *q_slot, const int64_t *k_slot, const double *q_place, const double *k_place, real *y,
               real *lse, const Sizes *n, double scale, int64_t threads) {
    Call call = {n, q, k, v, spans, extra, q_slot, k_slot, q_place, k_place, (real)scale};
    int64_t heads = n->B * n->G, most = (n->R + 255) / 256;
    int64_t stretches = MAX(1, MIN((4 * threads + heads - 1) / heads, most));
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t task = 0; task < heads * stretches; task++) {
        int64_t b = task / stretches / n->G, g = task / stretches % n->G, stretch = task % stretches;
        int64_t *first = reserve((stretches + 1) * sizeof(int64_t));
        split_rows(&call, b, stretches, first);
        Panel panel;
        Rows rows;
        pack_columns(&call, b, g, first[stretch], first[stretch + 1], 0, &panel);
        void *memory = reserve(ROWS * (panel.wide_k + panel.wide_v) * sizeof(real));
        rows.q = aligned(memory);
        for (int64_t h = g * (n->H / n->G); h < (g + 1) * (n->H / n->G); h++) {
            for (int64_t row = first[stretch]; row < first[stretch + 1]; row += ROWS) {
                load_rows(&call, b, h, row, panel.wide_k, &rows);
                attend_rows(&call, &panel, &rows, row, rows.q + ROWS * panel.wide_k, y, lse);
            }
        }
        free(memory);
        free(panel.memory);
        free(first);
    }
}
