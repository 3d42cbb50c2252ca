/* A cube of particles with Lennard-Jones forces at rest, isokinetic: half lists, rebuilt every 8 steps of Verlet, virial with them. */
#include <math.h>
#include <stdlib.h>

static int list(const double *x, int n, double side, double radius, int *first, int *other)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        first[i] = count;
        for (int j = i + 1; j < n; j++) {
            double square = 0;
            for (int c = 0; c < 3; c++) {
                double d = x[3 * i + c] - x[3 * j + c];
                d -= side * nearbyint(d / side);
                square += d * d;
            }
            if (square < radius * radius) other[count++] = j;
        }
    }
    first[n] = count;
    return count;
}

static void forces(const double *x, double *f, int n, double side, double cutoff, const int *first, const int *other,
                   double *virial)
{
    for (int i = 0; i < 3 * n; i++) f[i] = 0;
    for (int c = 0; c < 6; c++) virial[c] = 0;
    for (int i = 0; i < n; i++)
        for (int k = first[i]; k < first[i + 1]; k++) {
            double d[3], square = 0;
            int j = other[k];
            for (int c = 0; c < 3; c++) {
                d[c] = x[3 * i + c] - x[3 * j + c];
                d[c] -= side * nearbyint(d[c] / side);
                square += d[c] * d[c];
            }
            if (square >= cutoff * cutoff) continue;
            double inverse = 1 / square, sixth = inverse * inverse * inverse;
            double pull = 24 * sixth * (2 * sixth - 1) * inverse;
            for (int c = 0; c < 3; c++) { f[3 * i + c] += pull * d[c]; f[3 * j + c] -= pull * d[c]; }
            virial[0] += pull * d[0] * d[0]; virial[1] += pull * d[1] * d[1]; virial[2] += pull * d[2] * d[2];
            virial[3] += pull * d[0] * d[1]; virial[4] += pull * d[0] * d[2]; virial[5] += pull * d[1] * d[2];
        }
}

/* Half a kick with the kinetic energy held. */
static void kick(double *p, const double *f, int n, double dt, double temperature)
{
    double work = 0, square = 0, kinetic = 0;
    for (int i = 0; i < 3 * n; i++) { work += f[i] * p[i]; square += p[i] * p[i]; }
    double span = dt * (1 + 0.5 * dt * work / square);
    for (int i = 0; i < 3 * n; i++) { p[i] += span * f[i]; kinetic += p[i] * p[i]; }
    double scale = sqrt(3 * (n - 1) * temperature / kinetic);
    for (int i = 0; i < 3 * n; i++) p[i] *= scale;
}

/* `blocks` of 8 Verlet steps; x, p (n, 3) are changed. */
void run(double *x, double *p, int n, double side, double cutoff, double skin, double dt, double temperature, int blocks,
         double *virial)
{
    int *first = malloc(sizeof(int) * (n + 1)), *other = malloc(sizeof(int) * n * n / 2);
    double *f = malloc(sizeof(double) * 3 * n);
    list(x, n, side, cutoff + skin, first, other);
    forces(x, f, n, side, cutoff, first, other, virial);
    for (int block = 0; block < blocks; block++) {
        if (block) list(x, n, side, cutoff + skin, first, other);
        for (int step = 0; step < 8; step++) {
            kick(p, f, n, 0.5 * dt, temperature);
            for (int i = 0; i < 3 * n; i++) x[i] += dt * p[i];
            forces(x, f, n, side, cutoff, first, other, virial);
            kick(p, f, n, 0.5 * dt, temperature);
        }
    }
    free(first); free(other); free(f);
}
