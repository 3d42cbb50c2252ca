/* dy/dt of rod densities, y = D c + sum_k kappa_k L_k c over a shared sparsity pattern; coefficients (n, fibers), fibers fastest. */
void apply(const double *c, const double *kappa, const double *values, const int *start, const int *column,
           const double *diagonal, long fibers, int n, int terms, double *y)
{
    enum { LANES = 8 };
    for (long f = 0; f < fibers; f += LANES)
        for (int i = 0; i < n; i++) {
            double sum[LANES];
            for (int l = 0; l < LANES; l++) sum[l] = diagonal[i] * c[i * fibers + f + l];
            for (int p = start[i]; p < start[i + 1]; p++) {
                double weight[LANES] = {0};
                for (int k = 0; k < terms; k++)
                    for (int l = 0; l < LANES; l++) weight[l] += values[p * terms + k] * kappa[k * fibers + f + l];
                for (int l = 0; l < LANES; l++) sum[l] += weight[l] * c[column[p] * fibers + f + l];
            }
            for (int l = 0; l < LANES; l++) y[i * fibers + f + l] = sum[l];
        }
}
