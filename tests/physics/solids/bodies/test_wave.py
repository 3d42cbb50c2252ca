"""The one-dimensional wave equation: both forms, orders, energy with fibers of every kind, the limit of small η and m."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order


def morse(r):
    """Depth 1, alpha 3, minimum at 1/2."""
    return (1.0 - jnp.exp(-3.0 * (r - 0.5))) ** 2


CHAIN = fx.solids.DiatomicChain(morse)
SEAMLESS = fx.Seamless(separation=np.inf)


class Linear(fx.AbstractEnergy):
    """W = ½CA² without a microstructure."""

    modulus: float

    def init(self, condition, key):
        return jnp.zeros((0,))

    def energy(self, state, condition):
        return 0.5 * self.modulus * condition**2


def wave(cells, **options):
    return fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=cells), **options)


def run(model, fiber, driver, strain, velocity, t1, dt, saveat=None):
    """The run from functions A(x) and v(x)."""
    centres = model.positions()[:, 0]
    macro0 = model.start(strain(centres), velocity(centres - 0.5 * model.grid.spacing[0]))
    return fx.evolve(fx.Bundle(model, fiber), driver, macro0, t1=t1, dt=dt, stepper=fx.Verlet(), saveat=saveat)


def bump(x):
    return 0.03 * np.cos(2.0 * np.pi * x)


def still(x):
    return 0.0 * x


@pytest.mark.parametrize("form", ["strain", "displacement"])
@pytest.mark.parametrize("order", [2, 4])
def test_conditions_and_acceleration_converge_at_the_order_in_space(form, order):
    """On u = sin kx/k + 0.1 x, F = e^{sin kx}, against the derivatives."""
    k, errors, sizes = 2.0 * np.pi, [], np.array([32, 64])
    for cells in sizes:
        model = wave(int(cells), form=form, order=order, density=2.0, strain=0.1 if form == "displacement" else 0.0)
        centres = model.positions()[:, 0]
        macro = model.start(0.1 + np.cos(k * centres))
        strain = model.conditions(macro)
        np.testing.assert_allclose(strain, 0.1 + np.cos(k * centres), atol=1e-12)
        x = model.layout().coords["x"]
        f, c, s = np.exp(np.sin(k * x)), np.cos(k * x), np.sin(k * x)
        truth = k * c * f if form == "displacement" else k**2 * (c**2 - s) * f
        errors.append(np.abs(model.acceleration(0.0, macro, jnp.exp(jnp.sin(k * centres))) - 0.5 * truth).max())
        if form == "displacement":
            errors[-1] += np.abs(macro.position - np.sin(k * x) / k).max()
    assert abs(observed_order(errors, 1.0 / sizes) - order) < 0.25, errors


def test_a_wave_travels():
    """A = 0.1 + cos k(x − ct) with c = 2, v = −cA: back where it was after 1/c."""
    model = wave(16, form="displacement", order=4, strain=0.1)
    profile = lambda x: np.cos(2.0 * np.pi * x)
    found = run(model, Linear(4.0), fx.Quasistatic(), lambda x: 0.1 + profile(x), lambda x: -2.0 * profile(x), 0.5, 0.002)
    strain = model.conditions(jax.tree.map(lambda x: x[-1], found.macro))
    np.testing.assert_allclose(strain, 0.1 + profile(model.positions()[:, 0]), atol=2e-3)


def test_both_forms_are_one_scheme():
    options = {"strain": bump, "velocity": lambda x: 0.05 * np.sin(2.0 * np.pi * x), "t1": 0.1, "dt": 0.005}
    first, second = wave(16), wave(16, form="displacement", density=1.0)
    one, two = (run(m, CHAIN, fx.Quasistatic(), **options) for m in (first, second))
    strain = second.conditions(jax.tree.map(lambda x: x[-1], two.macro))
    np.testing.assert_allclose(one.macro.position[-1], strain, atol=1e-13)
    assert np.abs(strain - bump(first.positions()[:, 0])).max() > 0.01
    energies = [m.energy(jax.tree.map(lambda x: x[-1], s.macro), s.energy[-1]) for m, s in ((first, one), (second, two))]
    np.testing.assert_allclose(*energies, rtol=1e-11)


def energies(model, solution):
    """The total energy at every save time."""
    return np.asarray(jax.vmap(model.energy)(solution.macro, jnp.asarray(solution.energy)))


QUANTUM = fx.solids.QuantumChain(lambda s: 30.0 * s**2, lambda y: -20.0 * jnp.cos(2.0 * jnp.pi * y), n=7)


@pytest.mark.parametrize(("name", "mass"), [("diatomic", 0.05), ("quantum", 0.05)])
def test_total_energy_is_conserved_without_friction_and_falls_with_it(name, mass):
    """∫ (½ v² + W + ½ m|u_t|²) dx of the coupled system: constant up to O(dt²) without growth; decreasing with friction."""
    fiber, model, saveat = {"diatomic": CHAIN, "quantum": QUANTUM}[name], wave(8), np.linspace(0.0, 0.4, 41)
    drift = []
    for dt in (0.002, 0.001):
        found = run(model, fx.relax(fiber, mass, 0.0), SEAMLESS, bump, still, 0.4, dt, saveat)
        total = energies(model, found)
        scale = np.ptp(found.energy.sum(axis=1)) * model.grid.volume
        drift.append(np.ptp(total) / scale)
    assert drift[1] < 0.02 and 1.6 < np.log2(drift[0] / drift[1]) < 2.4, drift
    damped = energies(model, run(model, fx.relax(fiber, mass, 1.0), SEAMLESS, bump, still, 0.4, 0.001, saveat))
    assert np.all(np.diff(damped) < drift[1] * scale) and damped[0] - damped[-1] > 10 * drift[1] * scale


def test_relaxing_fibers_become_quasistatic_at_first_order_in_friction_and_in_mass():
    """From rest on the equilibrium; relaxation times η/2V'' and periods 2π(m/2V'')^½ stay resolved by the steps."""
    model, t1, k = wave(8), 0.1, 2.0 * 18.0
    exact = run(model, CHAIN, fx.Quasistatic(1e-12), bump, still, t1, 4e-4).macro.position[-1]
    sizes = np.array([0.006, 0.003])

    def error(mass, friction):
        fiber = fx.relax(CHAIN, mass, friction, None if mass else fx.Explicit())
        return np.abs(run(model, fiber, SEAMLESS, bump, still, t1, 4e-4).macro.position[-1] - exact).max()

    by_friction = [error(0.0, k * s) for s in sizes]
    assert 0.85 < observed_order(by_friction, sizes) < 1.15, by_friction
    by_mass = [error(k * s**2, 0.0) for s in sizes]  # s² is the m of the theory, in the unit of 2V''
    assert 0.85 < observed_order(by_mass, sizes**2) < 1.15, by_mass


@pytest.mark.parametrize("form", ["strain", "displacement"])
def test_step_limit_and_lost_ellipticity(form):
    """2/ω with ω = 2c/h, c² = C/ϱ; C < 0 shows as growth."""
    model = wave(10, form=form, density=2.0)
    limit = fx.stiffness(fx.Bundle(model, Linear(9.0)), model.start(0.0))
    np.testing.assert_allclose(limit.step, 0.1 / (9.0 / 2.0) ** 0.5, rtol=1e-10)
    assert limit.growth < 1e-5 * abs(limit.eigenvalue) and abs(limit.eigenvalue.real) < 1e-9 * abs(limit.eigenvalue)
    lost = fx.stiffness(fx.Bundle(model, Linear(-9.0)), model.start(0.0))
    np.testing.assert_allclose(lost.growth, abs(lost.eigenvalue), rtol=1e-6)


def test_the_step_limit_is_sharp():
    model, limit = wave(10), 0.1 / 3.0
    rough = lambda x: 1e-6 * np.cos(10.0 * np.pi * (x - 0.05)) + 1e-6 * np.cos(6.0 * np.pi * x)
    for factor, stable in ((0.95, True), (1.05, False)):
        said = contextlib.nullcontext() if stable else pytest.warns(fx.StepLimitWarning, match="stability limit 0.0333")
        with said:
            found = run(model, Linear(9.0), fx.Quasistatic(), rough, still, 60 * factor * limit, factor * limit).macro
        assert (np.abs(found.position[-1]).max() < 1e-4) == stable


def test_implicit_steps_go_beyond_the_limit():
    """Newmark with the model's own linear solver, at twice the explicit step: the energy stays, the wave comes round."""
    model = wave(16, form="displacement")
    centres = model.positions()[:, 0]
    found = fx.evolve(
        fx.Bundle(model, CHAIN), fx.Quasistatic(1e-12), model.start(0.3 * bump(centres)), t1=1 / 3, dt=1 / 24,
        stepper=fx.Newmark(), saveat=np.linspace(0.0, 1 / 3, 9),
    )  # fmt: skip
    total = energies(model, found)
    assert np.ptp(total) < 0.05 * np.ptp(found.energy.sum(axis=1)) * model.grid.volume
    strains = jax.vmap(model.conditions)(found.macro) @ np.cos(2.0 * np.pi * centres) / 8.0
    assert strains[4] < -0.008 and strains[8] > 0.005, strains  # a period is 1/c = 1/3


@pytest.mark.parametrize("form", ["strain", "displacement"])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_linear_solver(form, shift):
    model = wave(8, form=form, density=2.0)
    modulus = jnp.asarray(1.0 + 0.3 * np.random.default_rng(0).random(8))
    residual = jnp.asarray(np.random.default_rng(1).standard_normal(8))
    residual = residual - jnp.mean(residual)
    still = model.start(0.0)
    w = model.solve_linearised(0.0, residual, still, None, modulus, shift)
    force = model.acceleration(0.0, still, modulus * model.conditions(fx.Moving(w, w)))
    np.testing.assert_allclose(force - shift * w, residual, atol=1e-10)


def newton(n, t1, displacement, bonds, slopes):
    """Displacements at t1 of the middles of first bonds in a diatomic chain of n cells of length 1/n, by Newton's equations."""
    eps, dt = 1.0 / n, t1 / (32 * n)
    x = (np.arange(n) + 0.25) * eps
    y = np.stack([x + displacement(x) + 0.5 * sign * eps * bonds for sign in (-1.0, 1.0)])
    v = np.zeros_like(y)
    for k in range(32 * n + 1):
        first = slopes[0]((y[1] - y[0]) / eps)
        other = slopes[1]((np.roll(y[0], -1) + (np.arange(n) == n - 1) - y[1]) / eps)
        force = np.stack([first - np.roll(other, 1), other - first]) / (0.5 * eps)
        v = v + (0.5 if k in (0, 32 * n) else 1.0) * dt * force
        y = y + dt * v if k < 32 * n else y
    return y.mean(axis=0) - x


def test_atoms_by_newtons_equations_come_to_the_wave_equation_at_second_order():
    """Two unlike Morse bonds; more of this in validation/waves.py."""
    slopes = [lambda r, a=a, b=b: 2 * a * np.exp(-a * (r - b)) * (1 - np.exp(-a * (r - b))) for a, b in ((3, 0.45), (5, 0.55))]
    well = lambda a, b: lambda r: (1.0 - jnp.exp(-a * (r - b))) ** 2
    chain = fx.solids.DiatomicChain(well(3.0, 0.45), second=well(5.0, 0.55))
    u0 = lambda x: 0.04 / (2 * np.pi) * np.sin(2 * np.pi * x)
    model, t1, errors, sizes = wave(64, form="displacement", order=4), 0.12, [], (8, 16, 32)
    macro0 = fx.Moving(jnp.asarray(u0(model.layout().coords["x"])), jnp.zeros(64))
    bundle = fx.Bundle(model, chain)
    u = fx.evolve(bundle, fx.Quasistatic(1e-12), macro0, t1=t1, dt=1e-3, stepper=fx.Verlet()).macro.position[-1]
    u = np.asarray(u) @ np.exp(-2j * np.pi * np.outer(np.arange(64), np.arange(1, 16)) / 64) / 32
    for n in sizes:
        x = (np.arange(n) + 0.25) / n
        bonds = np.asarray(fx.responses(chain, np.resize(0.04 * np.cos(2 * np.pi * x), 32), tolerance=1e-12).state)[:n]
        found = newton(n, t1, u0, bonds, slopes)
        errors.append(np.abs(found - (np.exp(2j * np.pi * np.outer(x, np.arange(1, 16))) @ u).real).max())
    assert abs(observed_order(errors, 1.0 / np.array(sizes)) - 2.0) < 0.15, errors


def test_misuse_is_named():
    for grid in (fx.grids.Box((0, 0), (1, 1), cells=(8, 8)), fx.grids.Box(0, 1, cells=8, periodic=False), None):
        with pytest.raises(fx.BadInput, match="Give a periodic interval"):
            fx.solids.Wave(grid)
    with pytest.raises(fx.BadInput, match="form='stress'; the choices are 'strain' and 'displacement'"):
        wave(8, form="stress")
    with pytest.raises(fx.BadInput, match="order=3; the choices are 2 and 4"):
        wave(8, order=3)
    with pytest.raises(fx.BadInput, match="density must be a positive number"):
        wave(8, density=0)
    with pytest.raises(fx.BadInput, match=r"the mean of the strain is 0\.1\. Give it"):
        wave(8, form="displacement").start(0.1)
