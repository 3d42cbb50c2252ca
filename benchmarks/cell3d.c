/* Peer of benchmarks/cell3d.py: the periodic cell problem of one volume by conjugate gradients in plain C with FFTW.

   Finite volumes with harmonic means on faces, preconditioned by the inverse of the Laplacian of the mean conductivity;
   right-hand side div(t e) for one direction e; stops where <r, P r> <= tolerance^2 <energy>, as fiberax does. */
#include <fftw3.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int n;
    long size, modes;
    fftw_plan forward, backward;
    double *t, *u, *r, *p, *q, *z;
    fftw_complex *spectrum;
} Plan;

Plan *plan_make(int n, const double *a)
{
    Plan *s = malloc(sizeof *s);
    s->n = n;
    s->size = (long)n * n * n;
    s->modes = (long)n * n * (n / 2 + 1);
    s->t = fftw_malloc(3 * sizeof(double) * s->size);
    double **arrays[] = {&s->u, &s->r, &s->p, &s->q, &s->z};
    for (int k = 0; k < 5; k++) *arrays[k] = fftw_malloc(sizeof(double) * s->size);
    s->spectrum = fftw_malloc(sizeof(fftw_complex) * s->modes);
    s->forward = fftw_plan_dft_r2c_3d(n, n, n, s->z, s->spectrum, FFTW_MEASURE);
    s->backward = fftw_plan_dft_c2r_3d(n, n, n, s->spectrum, s->z, FFTW_MEASURE);
    long strides[3] = {(long)n * n, n, 1};
    for (long k = 0; k < s->size; k++) {
        long place[3] = {k / ((long)n * n), k / n % n, k % n};
        for (int axis = 0; axis < 3; axis++) {
            long there = place[axis] + 1 == n ? k - (n - 1) * strides[axis] : k + strides[axis];
            double both = a[k] + a[there];
            s->t[axis * s->size + k] = both > 0 ? 2 * a[k] * a[there] / both : 0;
        }
    }
    return s;
}

/* out = -div(t (grad u + e)) over squared spacings, e as a difference over one spacing; returns the mean flux along e */
static double apply(const Plan *s, const double *u, double ex, double ey, double ez, double *out)
{
    int n = s->n;
    long layer = (long)n * n, m = s->size;
    const double *tx = s->t, *ty = tx + m, *tz = ty + m;
    double mean = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            long row = i * layer + (long)j * n;
            long up = (i + 1 == n ? 0 : i + 1) * layer + (long)j * n, down = (i ? i - 1 : n - 1) * layer + (long)j * n;
            long far = i * layer + (long)(j + 1 == n ? 0 : j + 1) * n, near = i * layer + (long)(j ? j - 1 : n - 1) * n;
            for (int k = 0; k < n; k++) {
                int right = k + 1 == n ? 0 : k + 1, left = k ? k - 1 : n - 1;
                double v = u[row + k];
                double qx = tx[row + k] * (u[up + k] - v + ex), before_x = tx[down + k] * (v - u[down + k] + ex);
                double qy = ty[row + k] * (u[far + k] - v + ey), before_y = ty[near + k] * (v - u[near + k] + ey);
                double qz = tz[row + k] * (u[row + right] - v + ez), before_z = tz[row + left] * (v - u[row + left] + ez);
                out[row + k] = before_x - qx + before_y - qy + before_z - qz;
                mean += ex * qx + ey * qy + ez * qz;
            }
        }
    return mean / m;
}

static double dot(long m, const double *x, const double *y)
{
    double s = 0;
    for (long i = 0; i < m; i++) s += x[i] * y[i];
    return s;
}

/* `filter` is the inverse symbol over n^3, in the layout of the real transform; returns the number of iterations */
int cell_solve(Plan *s, const double *filter, double ex, double ey, double ez, double tolerance, int limit, double *response)
{
    long m = s->size;
    double *u = s->u, *r = s->r, *p = s->p, *q = s->q, *z = s->z, rz = 0;
    int steps = 0;
    memset(u, 0, sizeof(double) * m);
    double energy = apply(s, u, ex, ey, ez, r);
    for (long i = 0; i < m; i++) r[i] = -r[i];
    for (;;) {
        memcpy(z, r, sizeof(double) * m);
        fftw_execute(s->forward);
        for (long k = 0; k < s->modes; k++) {
            s->spectrum[k][0] *= filter[k];
            s->spectrum[k][1] *= filter[k];
        }
        fftw_execute(s->backward);
        double next = dot(m, r, z), beta = steps ? next / rz : 0;
        rz = next;
        if (rz / m <= tolerance * tolerance * energy || steps == limit) break;
        if (steps) for (long i = 0; i < m; i++) p[i] = z[i] + beta * p[i];
        else memcpy(p, z, sizeof(double) * m);
        apply(s, p, 0, 0, 0, q);
        double alpha = rz / dot(m, p, q);
        for (long i = 0; i < m; i++) u[i] += alpha * p[i];
        for (long i = 0; i < m; i++) r[i] -= alpha * q[i];
        energy -= alpha * rz / m;
        steps++;
    }
    *response = apply(s, u, ex, ey, ez, q);
    return steps;
}
