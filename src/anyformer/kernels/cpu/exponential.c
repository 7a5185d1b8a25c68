/* y = exp(x) for n numbers, repeatedly: the upper limit on the rate of kernels with exponentials. Each round has a row
 * of y of its own thread, so that nothing leaves the first-level cache. */
#include "real.h"
#ifdef _OPENMP
#include <omp.h>
#endif

EXPORT(exponential)(const real *restrict x, real *restrict y, int64_t n, int64_t rounds, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t round = 0; round < rounds; round++) {
#ifdef _OPENMP
        real *row = y + omp_get_thread_num() * n;
#else
        real *row = y;
#endif
        SIMD for (int64_t i = 0; i < n; i++) row[i] = fast_exp(x[i]);
    }
}
