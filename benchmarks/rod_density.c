/* y = A x for a dense matrix (n, n), rows in order, `count` times; x of each product is y of the one before, scaled. */
#include <math.h>

void products(const double *a, double *x, double *y, int n, int count) {
    for (int k = 0; k < count; k++) {
        double size = 0.0;
        for (int i = 0; i < n; i++) {
            double sum = 0.0;
            for (int j = 0; j < n; j++) sum += a[i * n + j] * x[j];
            y[i] = sum;
            size += sum * sum;
        }
        size = 1.0 / sqrt(size);
        for (int i = 0; i < n; i++) x[i] = y[i] * size;
    }
}
