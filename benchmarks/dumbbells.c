/* Peer of benchmarks/dumbbells.py: one Euler-Maruyama step of an ensemble of dumbbells in two dimensions with its stress, in
   plain C. Springs (fiber, component, member); FENE for b > 0 (moves beyond b(1 - sqrt dt) are refused), else Hookean.

   Noise: xoshiro256++ (Blackman and Vigna), eight generators side by side so that the loop vectorises, and Box-Muller. */
#include <math.h>
#include <stdint.h>

enum { LANES = 8, BLOCK = 256 };

typedef struct {
    uint64_t s[4][LANES];
} Generator;

void generator_seed(Generator *g, long count, uint64_t seed)
{
    for (long f = 0; f < count; f++)
        for (int k = 0; k < 4; k++)
            for (int l = 0; l < LANES; l++) { /* splitmix64 */
                uint64_t x = (seed += 0x9e3779b97f4a7c15u);
                x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
                x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
                g[f].s[k][l] = x ^ (x >> 31);
            }
}

static inline uint64_t turn(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

/* numbers in [1, 2) from the upper 52 bits */
static void uniform(Generator *g, double *out, int count)
{
    union {
        uint64_t word;
        double number;
    } bits[LANES];
    uint64_t a[LANES], b[LANES], c[LANES], d[LANES];
    for (int l = 0; l < LANES; l++) a[l] = g->s[0][l], b[l] = g->s[1][l], c[l] = g->s[2][l], d[l] = g->s[3][l];
    for (int i = 0; i < count; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            uint64_t shifted = b[l] << 17;
            bits[l].word = ((turn(a[l] + d[l], 23) + a[l]) >> 12) | 0x3ff0000000000000u;
            c[l] ^= a[l];
            d[l] ^= b[l];
            b[l] ^= c[l];
            a[l] ^= d[l];
            c[l] ^= shifted;
            d[l] = turn(d[l], 45);
        }
        for (int l = 0; l < LANES; l++) out[i + l] = bits[l].number;
    }
    for (int l = 0; l < LANES; l++) g->s[0][l] = a[l], g->s[1][l] = b[l], g->s[2][l] = c[l], g->s[3][l] = d[l];
}

/* one block of each component; cos and sin in loops of their own, or the compiler makes a scalar sincos of them */
static void normal(Generator *g, double *restrict x, double *restrict y)
{
    double u[BLOCK], v[BLOCK];
    uniform(g, u, BLOCK);
    uniform(g, v, BLOCK);
    for (int i = 0; i < BLOCK; i++) u[i] = sqrt(-2.0 * log(2.0 - u[i]));
    for (int i = 0; i < BLOCK; i++) v[i] = 6.283185307179586 * (v[i] - 1.5);
    for (int i = 0; i < BLOCK; i++) x[i] = u[i] * cos(v[i]);
    for (int i = 0; i < BLOCK; i++) y[i] = u[i] * sin(v[i]);
}

static void step(double *restrict zx, double *restrict zy, const double *k, long members, double dt, double De, double b,
                 Generator *g, double *restrict stress)
{
    double xx = 0, xy = 0, yy = 0, nx[BLOCK], ny[BLOCK];
    const double inverse = b > 0 ? 1 / b : 0, limit = b > 0 ? b * (1 - sqrt(dt)) : INFINITY;
    const double half = 0.5 * dt / De, spread = sqrt(dt / De);
    for (long first = 0; first < members; first += BLOCK) {
        int n = members - first < BLOCK ? (int)(members - first) : BLOCK;
        double *px = zx + first, *py = zy + first;
        normal(g, nx, ny);
        for (int i = 0; i < n; i++) {
            double x = px[i], y = py[i], f = half / (1 - (x * x + y * y) * inverse);
            double u = x + dt * (k[0] * x + k[1] * y) - f * x + spread * nx[i];
            double v = y + dt * (k[2] * x + k[3] * y) - f * y + spread * ny[i];
            int inside = u * u + v * v < limit;
            x = inside ? u : x;
            y = inside ? v : y;
            double h = 1 / (1 - (x * x + y * y) * inverse);
            px[i] = x;
            py[i] = y;
            xx += h * x * x;
            xy += h * x * y;
            yy += h * y * y;
        }
    }
    stress[0] = xx / members;
    stress[1] = stress[2] = xy / members;
    stress[3] = yy / members;
}

/* `steps` steps of every fiber; z (fibers, 2, members), kappa (fibers, 4), stress (fibers, 4) of the last step */
void run(double *z, const double *kappa, long fibers, long members, long steps, double dt, double De, double b, Generator *g,
         double *stress)
{
    for (long s = 0; s < steps; s++)
        for (long f = 0; f < fibers; f++) {
            double *x = z + 2 * f * members;
            step(x, x + members, kappa + 4 * f, members, dt, De, b, g + f, stress + 4 * f);
        }
}
