/* Shared by the forward, attend.c, and the backward, attend_backward.c.
 *
 * Rows are queries, columns are keys, both in the order of their numbers; slots are their indices in the tensors
 * (-1 = none). A row sees the columns [low, high), and of a short list of extra columns those in
 * [extra_low, extra_high) that it does not see already. A task takes one head of keys and a stretch of rows. It packs
 * the columns that these rows can see as blocks of COLUMNS, keys transposed, and runs over them by blocks of ROWS. */
#pragma once
#include "multiply.h"

enum { ROWS = 64, COLUMNS = 64 };

/* As Python lays it out: sizes, then strides over batch, heads and time. Everything else is contiguous. */
typedef struct {
    int64_t B, H, G, R, T, S, K, V, E, span_batch;
    int64_t q[3], k[3], v[3], grad[3];
} Sizes;

typedef struct {
    int32_t low, high, extra_low, extra_high;
} Span;

typedef struct {
    const Sizes *n;
    const real *q, *k, *v;
    const Span *spans;              /* (B or 1, R) */
    const int64_t *extra;           /* (B, E) columns, ascending, -1 = none; or null */
    const int64_t *q_slot, *k_slot; /* (B, R), (B, S); or null where they count up */
    const double *q_place, *k_place; /* (B, H, T), (B, H, S): scores fall by their distance; or null */
    real scale;
} Call;

typedef struct {
    int64_t first, blocks, extra_blocks, wide_k, wide_v;
    int64_t *slot;   /* of each column, -1 = none */
    int32_t *number; /* of each */
    char *finite;    /* of each block: bit 0 its keys, bit 1 its values */
    real *k, *kt, *v, *vt, *grad_k, *grad_v, *grad_place;
    void *memory;
} Panel;

/* A block of rows. q is scaled. */
typedef struct {
    int64_t b, h, slot[ROWS];
    Span span[ROWS];
    double base; /* places are counted from here, so that their differences are accurate */
    real place[ROWS], near[COLUMNS];
    int finite;
    real *q; /* (ROWS, wide_k) */
} Rows;

typedef struct {
    int from, to; /* columns of a block */
} Range;

static inline int64_t padded(int64_t width) { return (width + LANES - 1) / LANES * LANES; }

static inline int all_finite(const real *x, int64_t n) {
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * 0;
    return sum == 0;
}

static inline void *reserve(size_t bytes) {
    void *memory = calloc(bytes + 64, 1);
    if (!memory) abort();
    return memory;
}


static inline Span row_span(const Call *call, int64_t b, int64_t row) {
    const Sizes *n = call->n;
    Span nothing = {0, 0, 0, 0};
    if (row >= n->R || (call->q_slot && call->q_slot[b * n->R + row] < 0)) return nothing;
    return call->spans[b * n->span_batch + row];
}

/* The columns [*low, *high) that rows [row, stop) can see. */
static inline int64_t visible_columns(const Call *call, int64_t b, int64_t row, int64_t stop, int64_t *low,
                                      int64_t *high) {
    *low = call->n->S;
    *high = 0;
    for (int64_t r = row; r < stop; r++) {
        Span span = row_span(call, b, r);
        if (span.low >= span.high) continue;
        *low = MIN(*low, span.low);
        *high = MAX(*high, span.high);
    }
    if (*low > *high) *low = *high;
    return *high - *low;
}

/* The first row of each stretch, with about as many pairs in each: stretches + 1 numbers. */
static inline void split_rows(const Call *call, int64_t b, int64_t stretches, int64_t *first) {
    int64_t R = call->n->R, low, high, total = 0, done = 0, next = 1;
    for (int64_t row = 0; row < R; row += ROWS) {
        total += ROWS + visible_columns(call, b, row, row + ROWS, &low, &high);
    }
    first[0] = 0;
    for (int64_t row = 0; row < R; row += ROWS) {
        while (next < stretches && done >= total * next / stretches) first[next++] = row;
        done += ROWS + visible_columns(call, b, row, row + ROWS, &low, &high);
    }
    while (next <= stretches) first[next++] = R;
}

void EXPORTED_NAME(pack_columns)(const Call *call, int64_t b, int64_t g, int64_t row, int64_t stop, int backward,
                                 Panel *panel);
void EXPORTED_NAME(load_rows)(const Call *call, int64_t b, int64_t h, int64_t row, int64_t wide_k, Rows *rows);
void EXPORTED_NAME(place_columns)(const Call *call, const Panel *panel, int64_t block, Rows *rows);
Range EXPORTED_NAME(group_range)(const Panel *panel, int64_t block, const Rows *rows, int group);
void EXPORTED_NAME(scores)(const Call *call, const Panel *panel, int64_t block, const Rows *rows, int group,
                           Range range, real *s);
#define pack_columns EXPORTED_NAME(pack_columns)
#define load_rows EXPORTED_NAME(load_rows)
#define place_columns EXPORTED_NAME(place_columns)
#define group_range EXPORTED_NAME(group_range)
#define scores EXPORTED_NAME(scores)

/* The blocks of a panel that a block of rows looks at: main blocks [*from, *to), then the extra ones if *extra. */
static inline void visible_blocks(const Call *call, const Panel *panel, const Rows *rows, int64_t row, int64_t *from,
                                  int64_t *to, int *extra) {
    int64_t low, high;
    *from = *to = *extra = 0;
    if (visible_columns(call, rows->b, row, row + ROWS, &low, &high)) {
        *from = (low - panel->first) / COLUMNS;
        *to = (high - panel->first + COLUMNS - 1) / COLUMNS;
    }
    for (int r = 0; r < ROWS; r++) *extra |= rows->span[r].extra_low < rows->span[r].extra_high;
}
