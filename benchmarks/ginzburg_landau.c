// The limit in hand-written C of spins.py: conservative Ginzburg-Landau chains, Euler-Maruyama, bond noise by Box-Muller.
// V = a phi^2 + b phi^4, coupling kappa, mobility 1/2; eight xoshiro256++ streams side by side.
#include <math.h>
#include <stdint.h>
#define LANES 8
#define MOST 4096

typedef struct { uint64_t s[4][LANES]; } Stream;

static uint64_t mixed(uint64_t *x) {  // splitmix64
  uint64_t z = (*x += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void seed(Stream *streams, long count, uint64_t key) {
  for (long f = 0; f < count; f++)
    for (int k = 0; k < 4; k++)
      for (int l = 0; l < LANES; l++) streams[f].s[k][l] = mixed(&key);
}

static void words(Stream *g, uint64_t *out, long n) {
  for (long i = 0; i < n; i += LANES)
    for (int l = 0; l < LANES; l++) {
      uint64_t a = g->s[0][l], b = g->s[1][l], c = g->s[2][l], d = g->s[3][l], sum = a + d;
      out[i + l] = ((sum << 23) | (sum >> 41)) + a;
      uint64_t t = b << 17;
      c ^= a; d ^= b; b ^= c; a ^= d; c ^= t;
      g->s[0][l] = a; g->s[1][l] = b; g->s[2][l] = c; g->s[3][l] = (d << 45) | (d >> 19);
    }
}

static void normals(Stream *g, double *out, long n) {  // n a multiple of 2 LANES
  static __thread uint64_t w[MOST];
  double radius[MOST / 2], angle[MOST / 2];
  long half = n / 2;
  words(g, w, n);
  for (long i = 0; i < half; i++) radius[i] = sqrt(-2.0 * log((double)((w[i] >> 11) + 1) * 0x1.0p-53));
  for (long i = 0; i < half; i++) angle[i] = 6.283185307179586 * (double)(w[half + i] >> 11) * 0x1.0p-53;
  for (long i = 0; i < half; i++) out[i] = radius[i] * cos(angle[i]);
  for (long i = 0; i < half; i++) out[half + i] = radius[i] * sin(angle[i]);
}

// phi (count, n); response (count): half the mean of V' at the beginning of the last step.
void run(double *phi, long count, long n, long steps, double a, double b, double kappa, double beta, double dt, Stream *streams,
         double *response) {
  double slope[MOST + 2], noise[MOST + 1], size = sqrt(dt / beta);
  for (long f = 0; f < count; f++) {
    double *p = phi + f * n;
    for (long t = 0; t < steps; t++) {
      double total = 0.0;
      normals(streams + f, noise + 1, n);
      noise[0] = noise[n];
      for (long i = 0; i < n; i++) {
        double force = p[i] * (2.0 * a + 4.0 * b * p[i] * p[i]);
        total += force;
        double left = i ? p[i - 1] : p[n - 1], right = i < n - 1 ? p[i + 1] : p[0];
        slope[i + 1] = force + kappa * (2.0 * p[i] - left - right);
      }
      slope[0] = slope[n];
      slope[n + 1] = slope[1];
      for (long i = 0; i < n; i++)
        p[i] += 0.5 * dt * (slope[i + 2] - 2.0 * slope[i + 1] + slope[i]) + size * (noise[i + 1] - noise[i]);
      response[f] = 0.5 * total / n;
    }
  }
}
