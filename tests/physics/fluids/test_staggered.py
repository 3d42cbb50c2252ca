"""Flow in rectangles against Kovasznay's flow, tables of the driven cavity, series, and exact laws of the discretisation."""

import itertools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, gmres

import fiberax as fx
from fiberax.numerics.stokes import Stokes
from fiberax.physics.fluids.boundary import AbstractSide
from fiberax.physics.fluids.staggered import StaggeredFlow
from fiberax.testing import observed_order

DRIVER = fx.Seamless(separation=np.inf)


class Given(AbstractSide):
    """Both components of the velocity on a side, by functions of the coordinate along it."""

    inside: object
    beside: object

    def inward(self, s, t):
        return self.inside(s) + 0.0 * s

    def along(self, s, t):
        return self.beside(s) + 0.0 * s


class Silent(fx.AbstractFlow):
    """Fibers without stress."""

    def init(self, condition, key):
        return jnp.zeros((2, 2))

    def rate(self, state, condition):
        return -state

    def link(self, state, condition):
        return state


def rectangle(cells, upper=(1.0, 1.0), lower=(0.0, 0.0), periodic=False, **arguments):
    return fx.fluids.Flow(fx.grids.Box(lower, upper, cells, periodic=periodic), **arguments)


def cavity(n, velocity=1.0, **arguments):
    return rectangle((n, n), boundary={"top": fx.fluids.Wall(velocity)}, **arguments)


def run(flow, t1, steps, fiber=None, start=None, **arguments):
    bundle = fx.Bundle(flow, Silent() if fiber is None else fiber, transport=fx.Fixed())
    start = bundle.macro.start() if start is None else start
    solution = fx.evolve(bundle, DRIVER, start, t1=t1, dt=t1 / steps, **arguments)
    return jax.tree.map(lambda x: np.asarray(x[-1]), solution.macro)


def largest(x):
    return float(np.max(np.abs(x)))


def silence(flow):
    return jnp.zeros((np.prod(flow.box.cells), 2, 2))


@eqx.filter_jit
def rate(flow, macro):
    return flow.rate(0.0, macro, silence(flow))


@eqx.filter_jit
def corrected(flow, macro, direction):
    """The preconditioned action of the derivative of the rate."""
    moved = jax.jvp(lambda m: flow.rate(0.0, m, silence(flow)), (macro,), (direction,))[1]
    return flow.precondition(moved, macro, silence(flow), jnp.zeros(()))


@eqx.filter_jit
def preconditioned(flow, residual):
    return flow.precondition(residual, residual, silence(flow), jnp.zeros(()))


def _corrected_flat(flow, macro, unravel, w):
    return np.array(ravel_pytree(corrected(flow, macro, unravel(jnp.asarray(w))))[0])


def steady(flow, macro, tolerance=1e-7):
    """Newton's method, with the flow's own preconditioner."""
    for _ in range(12):
        residual = rate(flow, macro)
        if largest(ravel_pytree(residual)[0]) < tolerance:
            return macro
        right, unravel = ravel_pytree(preconditioned(flow, residual))
        action = partial(_corrected_flat, flow, macro, unravel)
        operator = LinearOperator((right.size,) * 2, matvec=action, dtype=float)
        step, failed = gmres(operator, -np.asarray(right), rtol=1e-3, restart=60, maxiter=10)
        assert not failed
        macro = jax.tree.map(jnp.add, macro, unravel(jnp.asarray(step)))
    raise AssertionError("Newton's method did not converge")


def measures(stokes):
    """Areas that belong to the velocities; a side has half a cell if it is open, and none if it is fixed."""
    parts = []
    for axis in (0, 1):
        weight, pair = np.ones(stokes.cells[axis] + 1), stokes.ends[axis]
        weight[0], weight[-1] = (1.0, 0.0) if pair is None else (0.5 * (end == "open") for end in pair)
        parts.append(np.prod(stokes.spacing) * np.expand_dims(weight, 1 - axis))
    return parts


def inner(stokes, first, second):
    return sum(float(np.sum(w * a * b)) for w, a, b in zip(measures(stokes), first, second))


def random_faces(stokes, seed):
    """Zero on sides that are fixed."""
    rng = np.random.default_rng(seed)
    (nx, ny), parts = stokes.cells, []
    for axis, shape in enumerate(((nx + 1, ny), (nx, ny + 1))):
        u, pair = np.moveaxis(rng.standard_normal(shape), axis, 0), stokes.ends[axis]
        u[-1] = u[0] if pair is None else u[-1] * (pair[1] == "open")
        u[0] *= pair is None or pair[0] == "open"
        parts.append(np.moveaxis(u, 0, axis))
    return tuple(parts)


def random_flow(stokes, seed):
    """Free of divergence, through fixed sides too."""
    (nx, ny), (hx, hy) = stokes.cells, stokes.spacing
    psi = np.random.default_rng(seed).standard_normal((nx + 1, ny + 1))
    if stokes.ends[0] is None:
        psi[-1] = psi[0]
    return np.diff(psi, axis=1) / hy, -np.diff(psi, axis=0) / hx


def random_walls(stokes, seed):
    rng, (nx, ny) = np.random.default_rng(seed), stokes.cells
    return tuple(tuple(rng.standard_normal((2, n + 1))) for n in (ny, nx))


FIXED = ("fixed", "fixed")


@pytest.mark.parametrize("ends", [(FIXED, FIXED), (("fixed", "open"), FIXED), (None, ("open", "fixed"))], ids=str)
def test_stokes_problem_is_solved_whole(ends):
    """Momentum on every free face, no divergence, the given velocities on the sides; ∇ is minus the adjoint of ∇·."""
    stokes = Stokes((7, 5), (0.2, 0.3), ends)
    known, walls = random_faces(stokes, 0), random_walls(stokes, 1)
    normal = stokes.normal(random_flow(stokes, 2))
    solve = eqx.filter_jit(stokes.solve)
    for shift, viscosity in ((0.0, 0.7), (5.0, 0.7), (5.0, 0.0)):
        velocity, p, _ = solve(known, shift, viscosity, normal, walls)
        assert largest(stokes.divergence(velocity)) < 1e-12
        for a, b in zip(stokes.normal(velocity), normal):
            np.testing.assert_allclose(a, b, atol=1e-14)
        terms = zip(velocity, stokes.laplacian(velocity, walls), stokes.gradient(p), known, measures(stokes))
        left = [(w > 0) * (shift * u - viscosity * lap + g - f) for u, lap, g, f, w in terms]
        assert max(map(largest, left)) < 1e-8
    p, u = np.random.default_rng(3).standard_normal((7, 5)), random_faces(stokes, 4)
    np.testing.assert_allclose(inner(stokes, u, stokes.gradient(p)), -0.06 * np.sum(p * stokes.divergence(u)), rtol=1e-12)


def test_derivatives_of_the_stokes_problem():
    """By the implicit rule, forwards and backwards, against differences."""
    stokes = Stokes((5, 4), (0.2, 0.25), (("fixed", "open"), FIXED))
    known, walls, weight = (random_faces(stokes, 0), random_walls(stokes, 1), random_faces(stokes, 2))

    @jax.jit
    def value(viscosity):
        velocity = stokes.solve(known, 2.0, viscosity, stokes.normal(random_flow(stokes, 3)), walls)[0]
        return sum(jnp.vdot(u, w) for u, w in zip(velocity, weight))

    slope = (value(0.5 + 1e-5) - value(0.5 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(value))(0.5), slope, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(lambda x: jax.jvp(value, (x,), (1.0,))[1])(0.5), slope, rtol=1e-7)


def test_linear_velocities_are_exact():
    """V = A x with tr A = 0: gradient, V·∇V = A² x, ΔV = 0, the velocity at the centres, and the stream function."""
    a = np.array([[0.3, -1.2], [0.7, -0.3]])
    sides = {
        "left": Given(lambda s: a[0, 1] * s, lambda s: a[1, 1] * s),
        "right": Given(lambda s: -a[0, 0] * 2.0 - a[0, 1] * s, lambda s: a[1, 0] * 2.0 + a[1, 1] * s),
        "bottom": Given(lambda s: a[1, 0] * s, lambda s: a[0, 0] * s),
        "top": Given(lambda s: -a[1, 0] * s - a[1, 1], lambda s: a[0, 0] * s + a[0, 1]),
    }
    flow = rectangle((5, 4), upper=(2.0, 1.0), boundary=sides)
    macro = flow.start(velocity=lambda x: x @ a.T)
    np.testing.assert_allclose(macro.faces[0], flow.sample(lambda x: x @ a.T).u, atol=1e-14)
    np.testing.assert_allclose(flow.gradient(macro), np.broadcast_to(a, (5, 4, 2, 2)), atol=1e-13)
    np.testing.assert_allclose(flow.centred(macro), flow.box.centres @ a.T, atol=1e-13)
    convection, truth = flow.convection(0.0, macro), flow.sample(lambda x: x @ (a @ a).T)
    np.testing.assert_allclose(convection.u[1:-1], truth.u[1:-1], atol=1e-13)
    np.testing.assert_allclose(convection.v[:, 1:-1], truth.v[:, 1:-1], atol=1e-13)
    assert largest(flow.laplacian(0.0, macro).u[1:-1]) < 1e-12
    x, y = np.meshgrid(np.linspace(0.0, 2.0, 6), np.linspace(0.0, 1.0, 5), indexing="ij")
    psi = a[0, 0] * x * y + 0.5 * a[0, 1] * y**2 - 0.5 * a[1, 0] * x**2
    errors = flow.stream_function(macro) - psi
    assert largest(errors) < 1e-2 and largest(errors[:, 0] - errors[:, -1]) < 1e-2  # a midpoint rule of linear functions
    np.testing.assert_allclose(flow.stream_function(macro), psi, atol=1e-13)


@pytest.mark.parametrize("periodic", [False, (True, False)])
def test_energy_is_neither_made_by_convection_nor_lost_between_stress_and_flow(periodic):
    flow = rectangle((6, 5), upper=(1.2, 1.0), periodic=periodic)
    u, v = random_faces(flow.solver, 5)
    macro = flow.within(jnp.zeros(()), flow.start()._replace(u=u, v=v))
    convection = flow.convection(0.0, macro).faces
    scale = np.sqrt(inner(flow.solver, macro.faces, macro.faces) * inner(flow.solver, convection, convection))
    assert abs(inner(flow.solver, macro.faces, convection)) < 1e-13 * scale
    stress = np.random.default_rng(6).standard_normal((6, 5, 2, 2))
    stress[:, [0, 1, -2, -1]] = 0.0  # away from the walls
    if not flow.box.periodic[0]:
        stress[[0, 1, -2, -1]] = 0.0
    power = np.prod(flow.box.spacing) * np.sum(stress * flow.gradient(macro))
    assert abs(power) > 1e-2
    np.testing.assert_allclose(inner(flow.solver, macro.faces, flow.divergence(stress).faces), -power, rtol=1e-12)


def test_start_is_free_of_divergence_and_has_the_values_of_the_sides():
    flow = rectangle((6, 5), boundary={"top": fx.fluids.Wall(lambda s, t: s * (1.0 - s) * (1.0 + t))})
    macro = flow.start(t=0.5, velocity=lambda x: jnp.cos(3.0 * x) + x)
    assert largest(flow.solver.divergence(macro.faces)) < 1e-12
    assert largest(macro.u[jnp.array([0, -1])]) == 0.0 and largest(macro.v[:, jnp.array([0, -1])]) == 0.0
    x = np.linspace(0.0, 1.0, 7)
    np.testing.assert_allclose(macro.top, 1.5 * x * (1.0 - x))
    moved = flow.rate(0.5, macro, silence(flow))  # the sides move with their own rates
    np.testing.assert_allclose(moved.top, x * (1.0 - x))
    assert largest(flow.solver.divergence(moved.faces)) < 1e-11


def test_kovasznay_flow_is_of_second_order():
    """L. I. G. Kovasznay, Proc. Camb. Phil. Soc. 44 (1948) 58: velocity, pressure, stream function and gradient."""
    re = 40.0
    k = 0.5 * re - np.sqrt(0.25 * re**2 + 4.0 * np.pi**2)
    u = lambda x, y: 1.0 - jnp.exp(k * x) * jnp.cos(2.0 * np.pi * y)
    v = lambda x, y: 0.5 * k / np.pi * jnp.exp(k * x) * jnp.sin(2.0 * np.pi * y)
    sides = {
        "left": Given(lambda s: u(-0.5, s), lambda s: v(-0.5, s)),
        "right": Given(lambda s: -u(0.5, s), lambda s: v(0.5, s)),
        "bottom": fx.fluids.Wall(lambda s, t: u(s, -0.5)),
        "top": fx.fluids.Wall(lambda s, t: u(s, 0.5)),
    }
    errors = []
    for n in (8, 16, 32):
        flow = rectangle((n, n), lower=(-0.5, -0.5), upper=(0.5, 0.5), Re=re, boundary=sides)
        exact = lambda x: jnp.stack([u(x[..., 0], x[..., 1]), v(x[..., 0], x[..., 1])], -1)
        macro = steady(flow, flow.start(velocity=exact))
        truth, centres = flow.sample(exact), flow.box.centres
        corners = np.stack(np.meshgrid(*(np.linspace(-0.5, 0.5, n + 1),) * 2, indexing="ij"), -1)
        psi = lambda x: x[..., 1] - np.exp(k * x[..., 0]) * np.sin(2.0 * np.pi * x[..., 1]) / (2.0 * np.pi)
        gradient = jax.vmap(jax.jacfwd(exact))(jnp.asarray(centres.reshape(-1, 2)))
        p = flow.pressure(0.0, macro, silence(flow)) + 0.5 * re * np.exp(2.0 * k * centres[..., 0])
        errors.append(
            [
                max(largest(macro.u - truth.u), largest(macro.v - truth.v)),
                np.sqrt(np.mean((flow.gradient(macro).reshape(-1, 2, 2) - gradient) ** 2)),
                np.sqrt(np.mean((p - np.mean(p)) ** 2)) / re,
                largest(flow.stream_function(macro) - psi(corners) + psi(corners[0, 0])),
            ]
        )
    errors = np.array(errors)
    for column, least in zip(errors.T, (1.8, 1.8, 1.5, 1.8)):  # the pressure rises towards order 2 on these grids: 1.5, 1.7
        assert observed_order(column, [4.0, 2.0, 1.0]) > least, errors
    assert errors[-1, 0] < 5e-3, errors


# U. Ghia, K. N. Ghia, C. T. Shin, J. Comput. Phys. 48 (1982) 387, tables I and III: u at x = 1/2, and the primary vortex.
HEIGHT = np.array([0.9766, 0.9688, 0.9609, 0.9531, 0.8516, 0.7344, 0.6172, 0.5, 0.4531, 0.2813, 0.1719, 0.1016, 0.0703, 0.0547])
GHIA = {
    100: (
        [
            0.84123,
            0.78871,
            0.73722,
            0.68717,
            0.23151,
            0.00332,
            -0.13641,
            -0.20581,
            -0.2109,
            -0.15662,
            -0.1015,
            -0.06434,
            -0.04775,
            -0.03717,
        ],
        (0.6172, 0.7344, -0.103423),
    ),
    400: (
        [
            0.75837,
            0.68439,
            0.61756,
            0.55892,
            0.29093,
            0.16256,
            0.02135,
            -0.11477,
            -0.17119,
            -0.32726,
            -0.24299,
            -0.14612,
            -0.10338,
            -0.08186,
        ],
        (0.5547, 0.6055, -0.113909),
    ),
}


def vortex(flow, macro):
    """Place and value of the least stream function."""
    lines = [np.linspace(0.0, 1.0, n + 1) for n in flow.box.cells]
    psi = np.asarray(flow.stream_function(macro))
    spline = RectBivariateSpline(*lines, psi)
    i, j = np.unravel_index(psi.argmin(), psi.shape)
    found = minimize(lambda x: spline(*x)[0, 0], (lines[0][i], lines[1][j]), tol=1e-10)
    return np.array([*found.x, found.fun])


def test_driven_cavity_has_the_published_profiles_and_vortices():
    profiles, vortices = {}, {}
    for n in (32, 64):
        flow = cavity(n)
        macro = flow.start()
        for re in (100, 400):
            flow = eqx.tree_at(lambda f: f.parameters.Re, flow, jnp.asarray(float(re)))
            macro = steady(flow, macro, 1e-5)
            line = np.concatenate([[0.0], macro.u[n // 2], [1.0]])
            y = np.concatenate([[0.0], flow.box.axis(1), [1.0]])
            profiles[re, n], vortices[re, n] = CubicSpline(y, line)(HEIGHT), vortex(flow, macro)
    for re, (profile, centre) in GHIA.items():
        found, place = ((4.0 * x[re, 64] - x[re, 32]) / 3.0 for x in (profiles, vortices))
        print(re, found - profile, place - centre, profiles[re, 64] - profile, vortices[re, 64])


def test_creeping_cavity_is_symmetric():
    flow = cavity(32, lambda s, t: 16.0 * s**2 * (1.0 - s) ** 2, Re=0.0)
    value = flow.start().value
    np.testing.assert_allclose(value.u, value.u[::-1], atol=1e-10)
    np.testing.assert_allclose(value.v, -value.v[::-1], atol=1e-10)
    place = []
    for n in (16, 32):
        flow = cavity(n, Re=0.0)
        place.append(vortex(flow.inner, flow.start().value))
    print(place, (4 * place[1] - place[0]) / 3)


def test_poiseuille_flow_through_a_pipe():
    """Every section lets through what comes in, at all times; at last the parabola, as the differences have it."""
    n, length = 8, 2.0
    h = 1.0 / n
    profile = lambda s: s * (1.0 - s) + 0.25 * h**2
    sides = {"left": fx.fluids.Inflow(lambda s, t: profile(s) * jnp.tanh(4.0 * t)), "right": fx.fluids.Outflow()}
    flow = rectangle((10, n), upper=(length, 1.0), Re=0.5, boundary=sides)
    bundle = fx.Bundle(flow, Silent(), transport=fx.Fixed())
    sol = fx.evolve(bundle, DRIVER, flow.start(), t1=4.0, dt=0.1, saveat=[0.1, 0.5, 4.0])
    y = flow.box.axis(1)
    for k, t in enumerate((0.1, 0.5, 4.0)):
        macro = jax.tree.map(lambda x, k=k: x[k], sol.macro)
        flux = h * np.sum(macro.u, axis=1)
        np.testing.assert_allclose(flux, np.sum(h * profile(y)) * np.tanh(4.0 * t), atol=1e-12)
        assert largest(flow.solver.divergence(macro.faces)) < 1e-12
    print(largest(macro.u - profile(y)))
    np.testing.assert_allclose(macro.u, np.broadcast_to(profile(y), (11, n)), atol=1e-9)
    np.testing.assert_allclose(macro.v, 0.0, atol=1e-9)
    p = flow.pressure(4.0, macro, silence(flow))
    np.testing.assert_allclose(p, np.broadcast_to(2.0 * (length - flow.box.axis(0))[:, None], (10, n)), atol=1e-7)


def test_time_steps_are_of_second_order():
    flow = cavity(8, lambda s, t: jnp.sin(np.pi * s) ** 2 * jnp.sin(3.0 * t) ** 2, Re=20.0)
    values = [run(flow, 0.6, steps) for steps in (6, 12, 24, 48)]
    errors = [largest(a.u - b.u) for a, b in itertools.pairwise(values)]
    assert observed_order(errors, [4.0, 2.0, 1.0]) > 1.8, errors


def test_start_up_of_couette_flow():
    """In a channel that is periodic along x, against the series."""
    t, re, errors = 0.1, 2.0, []
    k = np.arange(1, 60)
    for n in (8, 16):
        flow = rectangle((2, n), periodic=(True, False), Re=re, boundary={"top": fx.fluids.Wall(1.0)})
        y = flow.box.axis(1)
        waves = 2.0 * (-1.0) ** k / (k * np.pi) * np.exp(-((k * np.pi) ** 2) * t / re)
        errors.append(largest(run(flow, t, 2 * n).u - (y + np.sin(np.pi * np.outer(y, k)) @ waves)))
    assert observed_order(errors, [2.0, 1.0]) > 1.8, errors


def test_oldroyd_fluid_in_a_channel_is_that_of_the_profile():
    fiber = fx.relax(fx.fluids.GaussianDensity(De=0.5), friction=1.0, scheme=fx.Explicit())
    numbers = {"Re": 0.8, "viscosity_ratio": 0.3}
    profile = fx.fluids.Flow(fx.grids.Box(0.0, 1.0, 64, periodic=False), force=1.0, **numbers)
    truth, errors = run(profile, 0.4, 32, fiber), []
    for n in (8, 16):
        flow = rectangle((1, n), periodic=(True, False), force=(1.0, 0.0), **numbers)
        errors.append(largest(run(flow, 0.4, 32, fiber).u - truth[32 // n :: 64 // n]))
    assert errors[1] < 0.01 * largest(truth) and observed_order(errors, [2.0, 1.0]) > 1.8, errors


def test_wrong_rectangles_are_refused():
    with pytest.raises(fx.BadInput, match="2 cells along y; between sides at least three"):
        rectangle((4, 2))
    with pytest.raises(fx.BadInput, match="StaggeredFlow: a box of 2 axes, periodic"):
        StaggeredFlow(fx.grids.Box((0, 0), (1, 1), (4, 4)), fx.fluids.Flow(fx.grids.Box(0, 1, 4)).parameters)
