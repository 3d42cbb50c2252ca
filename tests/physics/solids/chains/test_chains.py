"""The diatomic chain (4.9)-(4.12): closed forms, the limit of stability, dispersion and sound speeds with relaxing fibers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx


def morse(r):
    """Depth 1, alpha 3, minimum at 1/2."""
    return (1.0 - jnp.exp(-3.0 * (r - 0.5))) ** 2


def lennard_jones(r):
    """Depth 1, minimum at 1/2."""
    return (0.5 / r) ** 12 - 2.0 * (0.5 / r) ** 6


@pytest.fixture(scope="module")
def chain():
    return fx.solids.DiatomicChain(morse)


def test_equal_bonds_share_the_strain(chain):
    strains = jnp.linspace(-0.1, 0.3, 7)
    found = fx.responses(chain, strains, tangent=True, tolerance=1e-12)
    bonds = 0.5 * (1.0 + strains)
    assert not found.result.any()
    np.testing.assert_allclose(found.state, bonds, rtol=1e-12)
    np.testing.assert_allclose(found.value, jax.vmap(jax.grad(morse))(bonds), atol=1e-12)
    np.testing.assert_allclose(found.tangent, 0.5 * jax.vmap(jax.grad(jax.grad(morse)))(bonds), rtol=1e-11)
    np.testing.assert_allclose(found.energy, 2.0 * jax.vmap(morse)(bonds), atol=1e-14)


def test_unequal_bonds_and_a_cell_of_another_length():
    """Springs k₁, k₂ at rest at l₁, l₂ in series: the force is the stretch over 1/k₁ + 1/k₂, whatever the cell."""
    chain = fx.solids.DiatomicChain(
        lambda r: 0.5 * 3.0 * (r - 1.0) ** 2, second=lambda r: 0.5 * 2.0 * (r - 2.0) ** 2, length=3.2
    )
    found = fx.response(chain, 0.1, tangent=True)
    force = (3.2 * 1.1 - 3.0) / (1 / 3 + 1 / 2)
    np.testing.assert_allclose(found.value, force, rtol=1e-9)
    np.testing.assert_allclose(found.tangent, 3.2 / (1 / 3 + 1 / 2), rtol=1e-10)
    np.testing.assert_allclose(found.state, 1.0 + force / 3.0, rtol=1e-10)
    np.testing.assert_allclose(found.energy, 0.5 * force**2 * (1 / 3 + 1 / 2) / 3.2, rtol=1e-9)
    np.testing.assert_allclose(chain.stability_margin(found.state, 0.1), 3.2 / (1 / 3 + 1 / 2), rtol=1e-10)


def test_a_cell_turned_inside_out_is_refused(chain):
    found = fx.responses(chain, jnp.asarray([-1.2, -1.0, 0.1]))
    assert found.result.tolist() == [fx.Result.NONFINITE, fx.Result.NONFINITE, 0]
    assert np.isnan(found.value).tolist() == np.isnan(found.energy).tolist() == [True, True, False]
    assert np.isnan(chain.energy(0.1, -1.2))


@pytest.mark.parametrize(
    ("potential", "bond"),
    [(morse, 0.5 + np.log(2.0) / 3.0), (lennard_jones, 0.5 * (13 / 7) ** (1 / 6))],
    ids=["morse", "lennard-jones"],
)
def test_beyond_the_critical_strain_one_bond_breaks(potential, bond):
    """V'' = 0 at r₀ + ln 2/α (Morse) and (13/7)^(1/6) r_min (Lennard-Jones); there the middle becomes a saddle."""
    chain, critical = fx.solids.DiatomicChain(potential), 2.0 * bond - 1.0
    near = critical + jnp.asarray([-1e-4, 0.02])
    found = fx.responses(chain, near)
    below, beyond = jax.vmap(chain.stability_margin)(found.state, near)
    assert not found.result.any()
    np.testing.assert_allclose(found.state[0], 0.5 * (1.0 + near[0]), atol=1e-9)
    slope, curvature = jax.vmap(jax.grad(potential)), jax.vmap(jax.grad(jax.grad(potential)))
    np.testing.assert_allclose(below, 0.5 * jax.grad(jax.grad(potential))(0.5 * (1.0 + near[0])), rtol=1e-6)
    assert 0.0 < below < 1e-3 * chain.stability_margin(0.5, 0.0) and beyond < 0.0
    # Past it: unequal bonds under equal forces, at a minimum of W in p, which F = dW/dA follows down: ellipticity is lost.
    p, q = found.state[1], 1.0 + near[1] - found.state[1]
    np.testing.assert_allclose(*slope(jnp.stack([p, q])), rtol=1e-8)
    assert abs(q - p) > 0.05 and jnp.sum(curvature(jnp.stack([p, q]))) > 0.0
    saddle = chain.stability_margin(0.5 * (1.0 + near[1]), near[1])
    assert saddle < 0.0 and found.energy[1] < chain.energy(0.5 * (1.0 + near[1]), near[1])
    stepped = fx.response(chain, near[1], state=0.5 * (1.0 + near[1]))  # a start right on the saddle
    np.testing.assert_allclose(stepped.energy, found.energy[1], rtol=1e-10)


def test_misuse_is_named():
    with pytest.raises(fx.BadInput, match="V must be a function of the bond length r; it is 3"):
        fx.solids.DiatomicChain(3)
    with pytest.raises(fx.BadInput, match="V must give one number for one number, the bond length r; it gives 2"):
        fx.solids.DiatomicChain(lambda r: jnp.stack([r, r]))
    with pytest.raises(fx.BadInput, match=r"second cannot be computed on one number, the bond length r: IndexError"):
        fx.solids.DiatomicChain(morse, second=lambda r: r[0])
    with pytest.raises(fx.BadInput, match="length must be a positive number; it is -1"):
        fx.solids.DiatomicChain(morse, length=-1)


K = float(jax.grad(jax.grad(morse))(0.5))  # V'' at rest


def roots(q2, mass, friction):
    """s of e^{st} in s² = −q²V''(1 − V''/(2V'' + ηs + ms²)) with ω = is, exact in time and on the grid.

    See docs: mathematics, Relaxation and forces.
    """
    fiber = np.poly1d([mass, friction, 2.0 * K])
    return (np.poly1d([1.0, 0.0, 0.0]) * fiber + q2 * K * (fiber - K)).roots


@pytest.mark.parametrize(("mass", "friction"), [(0.0, 0.5), (0.004, 0.02)], ids=["first order", "second order"])
def test_waves_over_relaxing_fibers_obey_the_dispersion_relation(chain, mass, friction):
    """A standing wave of small amplitude: its Fourier coefficient is a sum of e^{st} over the roots s; they are fitted."""
    cells, dt, steps = 16, 1e-3, 1200
    wave = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=cells))
    x = wave.positions()[:, 0]
    bundle = fx.Bundle(wave, fx.relax(chain, mass, friction, None if mass else fx.Explicit()))
    shape, amplitude = np.cos(2.0 * np.pi * x), 1e-6
    solution = fx.evolve(
        bundle, fx.Seamless(separation=np.inf), wave.start(amplitude * shape), t1=dt * steps, dt=dt,
        stepper=fx.Verlet(), saveat=np.linspace(0.0, dt * steps, 61),
    )  # fmt: skip
    signal = 2.0 * np.mean(solution.macro.position * shape, axis=1) / amplitude
    found = roots((2.0 * cells * np.sin(np.pi / cells)) ** 2, mass, friction)
    basis = np.exp(np.outer(solution.ts, found))
    fit = basis @ np.linalg.lstsq(basis, signal.astype(complex), rcond=None)[0]
    assert np.abs(fit - signal).max() < 2e-3, (np.abs(fit - signal).max(), found)
    frozen = roots((2.0 * cells * np.sin(np.pi / cells)) ** 2, mass, 1.3 * friction)  # the data tell η from 1.3 η
    basis = np.exp(np.outer(solution.ts, frozen))
    assert np.abs(basis @ np.linalg.lstsq(basis, signal.astype(complex), rcond=None)[0] - signal).max() > 1e-2


@pytest.mark.parametrize(("frozen", "square"), [(False, 0.5 * K), (True, K)], ids=["equilibrium", "frozen"])
def test_sound_speeds(chain, frozen, square):
    """c² = V''/2 where the fibers follow, V'' where they are frozen: a period of a standing wave brings it back.

    Frozen fibers stand in the equilibrium of the start, half the way, and the strain swings about that.
    """
    wave = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=32), order=4)
    shape = 1e-6 * np.cos(2.0 * np.pi * wave.positions()[:, 0])
    period = 1.0 / square**0.5
    fiber, driver = (fx.relax(chain, friction=1e4), fx.Seamless(separation=np.inf)) if frozen else (chain, fx.Quasistatic())
    options = {"stepper": fx.Verlet(), "t1": period, "dt": period / 400, "saveat": [0.75 * period, period]}
    solution = fx.evolve(fx.Bundle(wave, fiber), driver, wave.start(shape), **options)
    quarter, whole = 2.0 * np.mean(solution.macro.position * shape / 1e-12, axis=1)
    np.testing.assert_allclose([quarter, whole], [0.5 if frozen else 0.0, 1.0], atol=1e-3)


def test_margins_do_not_depend_on_the_unit_of_length():
    """Bonds that harden, so that the margin depends on where the atom is; lengths in another unit leave W(A) as it is."""
    bond = lambda unit: lambda r: 1.5 * unit * jnp.expm1(2.0 * (r / unit - 0.5)) - 2.0 * r
    states, margins = [], []
    for unit in (1.0, 2.5):
        chain = fx.solids.DiatomicChain(bond(unit), lambda r, unit=unit: 0.7 * unit * (r / unit - 0.5) ** 2, length=unit)
        found = fx.response(chain, 0.2, tolerance=1e-12)
        states.append(found.state / unit)
        margins.append(chain.stability_margin(found.state, 0.2))
    np.testing.assert_allclose(states[1], states[0], rtol=1e-10)
    np.testing.assert_allclose(margins[1], margins[0], rtol=1e-9)
