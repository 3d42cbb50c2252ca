/* Peer of benchmarks/cell2d.py: the periodic cell problem of one fiber by conjugate gradients in plain C with FFTW.

   Forward differences, operator -div(a grad) with a symmetric tensor (a11, a12, a22) in each cell, preconditioned by the inverse of
   the same stencil's Laplacian; right-hand side div(a e); stops at |r| <= tolerance |r0|. */
#include <fftw3.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int n, modes;
    fftw_plan forward, backward;
    double *work;
    fftw_complex *spectrum;
} Plan;

Plan *plan_make(int n)
{
    Plan *p = malloc(sizeof *p);
    p->n = n;
    p->modes = n * (n / 2 + 1);
    p->work = fftw_malloc(6 * sizeof(double) * n * n);
    p->spectrum = fftw_malloc(sizeof(fftw_complex) * p->modes);
    p->forward = fftw_plan_dft_r2c_2d(n, n, p->work, p->spectrum, FFTW_MEASURE);
    p->backward = fftw_plan_dft_c2r_2d(n, n, p->spectrum, p->work, FFTW_MEASURE);
    return p;
}

/* flux = a (grad u + e), then minus its divergence; returns the mean flux along e */
static double apply(int n, const double *a, const double *u, double ex, double ey, double *qx, double *qy, double *out)
{
    const double *a11 = a, *a12 = a + n * n, *a22 = a + 2 * n * n;
    double mean = 0;
    for (int i = 0; i < n; i++) {
        const double *row = u + i * n, *next = u + (i + 1 == n ? 0 : i + 1) * n;
        for (int j = 0; j < n; j++) {
            int right = j + 1 == n ? 0 : j + 1, k = i * n + j;
            double gx = next[j] - row[j] + ex, gy = row[right] - row[j] + ey;
            qx[k] = a11[k] * gx + a12[k] * gy;
            qy[k] = a12[k] * gx + a22[k] * gy;
            mean += ex * qx[k] + ey * qy[k];
        }
    }
    for (int i = 0; i < n; i++) {
        const double *above = qx + (i ? i - 1 : n - 1) * n;
        for (int j = 0; j < n; j++) {
            int left = j ? j - 1 : n - 1, k = i * n + j;
            out[k] = above[j] - qx[k] + qy[i * n + left] - qy[k];
        }
    }
    return mean / (n * n);
}

static double dot(int m, const double *x, const double *y)
{
    double s = 0;
    for (int i = 0; i < m; i++) s += x[i] * y[i];
    return s;
}

/* `filter` is the inverse symbol over n*n, in the layout of the real transform; returns the number of iterations */
int cell_solve(Plan *plan, const double *a, const double *filter, double ex, double ey, double tolerance, int limit,
               double *response)
{
    int n = plan->n, m = n * n, steps = 0;
    double *z = plan->work, *r = z + m, *p = r + m, *q = p + m, *qx = q + m, *qy = qx + m;
    double *u = calloc(m, sizeof(double));
    apply(n, a, u, ex, ey, qx, qy, r);
    for (int i = 0; i < m; i++) r[i] = -r[i];
    double rr0 = dot(m, r, r), rr = rr0, rz = 0;
    while (rr > tolerance * tolerance * rr0 && steps < limit) {
        fftw_execute_dft_r2c(plan->forward, (memcpy(z, r, m * sizeof(double)), z), plan->spectrum);
        for (int k = 0; k < plan->modes; k++) {
            plan->spectrum[k][0] *= filter[k];
            plan->spectrum[k][1] *= filter[k];
        }
        fftw_execute_dft_c2r(plan->backward, plan->spectrum, z);
        double next = dot(m, r, z), beta = steps ? next / rz : 0;
        rz = next;
        if (steps) for (int i = 0; i < m; i++) p[i] = z[i] + beta * p[i];
        else memcpy(p, z, m * sizeof(double));
        apply(n, a, p, 0, 0, qx, qy, q);
        double alpha = rz / dot(m, p, q);
        for (int i = 0; i < m; i++) u[i] += alpha * p[i];
        for (int i = 0; i < m; i++) r[i] -= alpha * q[i];
        rr = dot(m, r, r);
        steps++;
    }
    *response = apply(n, a, u, ex, ey, qx, qy, q);
    free(u);
    return steps;
}
