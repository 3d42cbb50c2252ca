"""The two-scale solution against full resolution of (2.1), by solvers that share nothing with fiberax."""

import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import LinearOperator, cg
from table import Table, fitted_order, orders

import fiberax as fx

hom = fx.homogenization
TAU = 2 * np.pi


def relative(error, exact):
    """Root mean square of the error relative to that of the exact values."""
    return float(np.sqrt(np.mean(np.square(error)) / np.mean(np.square(exact))))


# Full resolution of (2.1) in one dimension: finite volumes and BDF of scipy.


def medium_1d(u, z, xp=np):
    """a(u, z), not a product of functions of u and of z."""
    return 1 + 0.6 * xp.sin(TAU * z) + u**2 * (1 + 0.7 * xp.cos(TAU * z))


def resolved_1d(eps, per_period, T):
    """u(T) at the cell centres of a grid with so many cells per period; u = 1 and u = 0 at the ends."""
    n = round(per_period / eps)
    h = 1 / n
    faces = np.arange(n + 1) * h
    widths = np.full(n + 1, h)
    widths[[0, -1]] = h / 2

    def rate(t, u):
        padded = np.concatenate([[1.0], u, [0.0]])
        middle = 0.5 * (padded[1:] + padded[:-1])
        middle[[0, -1]] = 1.0, 0.0
        return np.diff(medium_1d(middle, faces / eps) * np.diff(padded) / widths) / h

    pattern = sp.diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(n, n))
    x = (np.arange(n) + 0.5) * h
    done = solve_ivp(rate, (0, T), start_1d(x), method="BDF", rtol=1e-7, atol=1e-9, jac_sparsity=pattern)
    return x, done.y[:, -1]


def start_1d(x):
    return 1 - x + 0.5 * np.sin(TAU * x)


def full_resolution_1d(out):
    """The two-scale solution against the resolved one for ε = 1/8 .. 1/64, with sides."""
    columns = ("what", "eps", "points per period")
    table = Table("full_resolution_1d", "|u_eps - U| / |u_eps| in L2, one dimension, Dirichlet sides, T = 0.05", columns)
    T, cells = 0.05, 200
    grid = fx.grids.Box((0.0,), (1.0,), cells=(cells,), periodic=False)
    macro = hom.Diffusion(grid, boundary=((hom.Dirichlet(1.0), hom.Dirichlet(0.0)),))
    cell = hom.Cell(lambda U, z: medium_1d(U, z[0], jnp), (64,))
    start = jnp.asarray(start_1d(grid.centres[:, 0]))
    sol = fx.evolve(fx.Bundle(macro, cell), fx.Quasistatic(), start, t1=T, dt=T / 50, stepper=fx.SDIRK2())
    knots = np.concatenate([[0.0], grid.centres[:, 0], [1.0]])
    U = CubicSpline(knots, np.concatenate([[1.0], np.asarray(sol.macro[-1]), [0.0]]))
    eps = 1 / np.array([8, 16, 32, 64])
    plain, corrected = [], []
    for e in eps:
        x, u = resolved_1d(e, 32, T)
        # The corrector in closed form: 1 + χ' = A/a, by quadrature on the cell at each x.
        z = (np.arange(64) + 0.5) / 64
        a = medium_1d(U(x)[:, None], z)
        slope = 1 / (a * np.mean(1 / a, axis=1, keepdims=True)) - 1
        wave = np.exp(1j * TAU * np.fft.fftfreq(64, 1 / 64) * (x[:, None] / e - z[0]))
        value = np.sum(_antiderivative(slope) / 64 * wave, axis=1).real
        plain.append(relative(U(x) - u, u))
        corrected.append(relative(U(x) + e * value * U(x, 1) - u, u))
        if e == eps[0]:
            figure(out / "full_resolution_1d.png", x, u, U)
        table.below(plain[-1], 0.15 * e, "U", f"1/{round(1 / e)}", 32)
        table.below(corrected[-1], 0.05 * e, "U + eps χ U'", f"1/{round(1 / e)}", 32)
    table.between(fitted_order(eps, plain), 0.9, 1.1, "U, order in eps", "", "")
    # First order too: χ does not vanish at the sides, and u_eps follows.
    table.between(fitted_order(eps, corrected), 0.9, 1.2, "U + eps χ U', order in eps", "", "")
    x, u = resolved_1d(1 / 8, 32, T)
    _, finer = resolved_1d(1 / 8, 96, T)
    drift = relative(u - finer[1::3], u)
    table.below(drift, 5e-4, "resolved solution: 32 against 96 points", "1/8", 32)
    return table.close(out)


def figure(path, x, u, U):
    """The resolved solution and U."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axes = plt.figure(figsize=(6, 3.5), layout="constrained").add_subplot(xlabel="x", ylabel="u", title="ε = 1/8, T = 0.05")
    axes.plot(x, u, label="u_ε, resolved")
    axes.plot(x, U(x), label="U, two-scale")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, dpi=150)
    plt.close(axes.figure)


def _antiderivative(f):
    """Discrete Fourier transform of the antiderivative with mean zero, along the last axis."""
    k = TAU * np.fft.fftfreq(f.shape[-1], 1 / f.shape[-1])
    hat = scipy.fft.fft(f, axis=-1)
    return np.divide(hat, 1j * k, out=np.zeros_like(hat), where=k != 0)


# Full resolution in two dimensions: Fourier collocation, a two-stage Rosenbrock-W method, conjugate gradients.


def medium_2d(u, z1, z2, xp=np):
    """a(u, z), not a product of functions of u and of z."""
    return 1 + 0.6 * xp.sin(TAU * z1) * xp.cos(TAU * z2) + u**2 * (1 + 0.6 * xp.cos(TAU * (z1 + z2)))


def start_2d(x, y):
    return 0.5 + 0.5 * np.sin(TAU * x) * np.cos(TAU * y) + 0.3 * np.cos(TAU * x)


def resolved_2d(eps, per_period, T, steps):
    """u(T) on the periodic square at the points i/n."""
    n = round(per_period / eps)
    x = np.arange(n) / n
    x, y = np.meshgrid(x, x, indexing="ij")
    k1 = TAU * np.fft.fftfreq(n, 1 / n)[:, None]
    k2 = TAU * np.fft.rfftfreq(n, 1 / n)
    k1, k2 = np.where(np.abs(k1) == np.pi * n, 0, k1), np.where(k2 == np.pi * n, 0, k2)
    forward = scipy.fft.rfft2
    back = lambda f: scipy.fft.irfft2(f, s=(n, n))

    def spread(a, v):
        hat = forward(v)
        return back(1j * k1 * forward(a * back(1j * k1 * hat)) + 1j * k2 * forward(a * back(1j * k2 * hat)))

    dt, gamma = T / steps, 1 - 0.5**0.5
    u = start_2d(x, y)
    for _ in range(steps):
        a = medium_2d(u, x / eps, y / eps)
        symbol = 1 / (1 + gamma * dt * a.mean() * (k1**2 + k2**2))
        system = LinearOperator((n * n, n * n), lambda v, a=a: v - gamma * dt * spread(a, v.reshape(n, n)).ravel(), float)
        guess = LinearOperator((n * n, n * n), lambda v, symbol=symbol: back(symbol * forward(v.reshape(n, n))).ravel(), float)

        def solve(f, system=system, guess=guess):
            found, bad = cg(system, f.ravel(), rtol=1e-6, M=guess, maxiter=200)
            assert bad == 0
            return found.reshape(n, n)

        one = solve(spread(a, u))
        ahead = u + dt * one
        two = solve(spread(medium_2d(ahead, x / eps, y / eps), ahead) - 2 * one)
        u = u + 1.5 * dt * one + 0.5 * dt * two
    return x, y, u


def _trigonometric(values, shift, x, y):
    """Fourier interpolation at (x, y) of values at ((i + shift)/m, (j + shift)/m), and its gradient."""
    m = values.shape[0]
    k = np.fft.fftfreq(m, 1 / m)
    hat = np.fft.fft2(values) / m**2
    hat[m // 2], hat[:, m // 2] = 0, 0
    ex = np.exp(1j * TAU * k * (x[:, :1] - shift / m))
    ey = np.exp(1j * TAU * k * (y[:1].T - shift / m))
    at = lambda h: (ex @ h @ ey.T).real
    return at(hat), at(1j * TAU * k[:, None] * hat), at(1j * TAU * k * hat)


def full_resolution_2d(out):
    """The two-scale solution against the resolved one for ε = 1/4 .. 1/16, periodic."""
    columns = ("what", "eps", "points per period")
    table = Table("full_resolution_2d", "|u_eps - U| / |u_eps| in L2, two dimensions, periodic, T = 0.004", columns)
    T, m = 0.004, 32
    grid = fx.grids.Box((0.0, 0.0), (1.0, 1.0), cells=(m, m), periodic=True)
    cell = hom.Cell(lambda U, z: medium_2d(U, z[0], z[1], jnp), (16, 16))
    bundle = fx.Bundle(hom.Diffusion(grid), cell)
    start = jnp.asarray(start_2d(grid.centres[..., 0], grid.centres[..., 1]))
    sol = fx.evolve(bundle, fx.Quasistatic(tolerance=1e-6), start, t1=T, dt=T / 40)
    U = np.asarray(sol.macro[-1])
    # Correctors as a function of U: a table in U, cubic in between.
    table_U = np.linspace(U.min() - 0.1, U.max() + 0.1, 25)
    chi = CubicSpline(table_U, np.asarray(fx.responses(cell, jnp.asarray(table_U), tolerance=1e-8).state))
    eps = 1 / np.array([4, 8, 16])
    plain, corrected = [], []
    for e in eps:
        x, y, u = resolved_2d(e, 20, T, 40)
        V, Vx, Vy = _trigonometric(U, 0.5, x, y)
        plain.append(relative(V - u, u))
        corrected.append(relative(V + e * _corrector(chi, V, Vx, Vy, 20) - u, u))
        table.below(plain[-1], 0.1 * e, "U", f"1/{round(1 / e)}", 20)
        table.below(corrected[-1], 0.12 * e**2 + 4e-4, "U + eps χ·∇U", f"1/{round(1 / e)}", 20)
    table.between(fitted_order(eps, plain), 0.9, 1.2, "U, order in eps", "", "")
    # No sides, no boundary layer; below 4e-4 the macro grid shows.
    table.between(orders(eps, corrected)[0], 1.7, 2.4, "U + eps χ·∇U, order, 1/4 to 1/8", "", "")
    u, finer = resolved_2d(1 / 4, 20, T, 40)[2], resolved_2d(1 / 4, 40, T, 80)[2]
    table.below(relative(u - finer[::2, ::2], u), 5e-4, "resolved solution: spacing and step halved", "1/4", 20)
    return table.close(out)


def _corrector(chi, V, Vx, Vy, p):
    """χ(U(x), x/ε)·∇U(x) at p points per period, by the Fourier series of each corrector over the cell."""
    place = np.arange(V.shape[0]) % p
    m = chi.c.shape[-1]
    k = np.arange(1, m // 2)
    # Dirichlet kernel: weight of the sample at l/m in the trigonometric polynomial at i/p.
    kernel = (1 + 2 * np.cos(TAU * k * (np.arange(p)[:, None, None] / p - np.arange(m)[:, None] / m)).sum(axis=-1)) / m
    total = np.zeros_like(V)
    for i in range(p):
        for j in range(p):
            at = np.ix_(np.flatnonzero(place == i), np.flatnonzero(place == j))
            values = np.einsum("xyjkl,k,l->xyj", chi(V[at]), kernel[i], kernel[j])
            total[at] = values[..., 0] * Vx[at] + values[..., 1] * Vy[at]
    return total
