"""Flows under the whole stress of their fibers: Newtonian fibers give Navier-Stokes, whatever viscosity is split off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

ETA, RHO, PRESSURE = 0.4, 0.8, 3.0
HELD = fx.FlowFiber(
    rate=lambda s, kappa: -s,
    init=lambda kappa: jnp.zeros(()),
    link=lambda s, kappa: ETA * (kappa + kappa.T) - PRESSURE * jnp.eye(kappa.shape[0], dtype=kappa.dtype),
)


def run(flow, start, t1, dt, saveat):
    return fx.evolve(fx.Bundle(flow, HELD), fx.Quasistatic(), start, t1=t1, dt=dt, saveat=saveat)


@pytest.mark.parametrize("viscosity", [0.0, 0.4, 1.0])
def test_poiseuille_flow_does_not_depend_on_the_split(viscosity):
    grid = fx.grids.Box(0.0, 2.0, cells=16, periodic=False)
    flow = fx.fluids.Flow(grid, stress="total", density=RHO, viscosity=viscosity, force=0.5, dim=3)
    y = np.linspace(0.0, 2.0, 17)
    sol = run(flow, flow.start(), 20.0, 0.02 if viscosity else 0.005, [20.0])
    np.testing.assert_allclose(sol.macro[-1], 0.5 * y * (2.0 - y) / (2.0 * ETA), rtol=1e-6, atol=1e-9)


def test_a_shear_wave_decays_at_its_rate_and_the_split_is_of_second_order():
    """U = sin(ky) exp(−η k² t/ϱ) in a periodic box."""
    grid = fx.grids.Box((0.0, 0.0), (2.0 * np.pi,) * 2, (8, 8))
    flow = fx.fluids.Flow(grid, stress="total", density=RHO, viscosity=0.7)
    wave = lambda x: jnp.stack([jnp.sin(2.0 * x[..., 1]), jnp.zeros_like(x[..., 0])], -1)
    start = flow.start(velocity=wave)
    decayed = lambda dt: float(jnp.max(run(flow, start, 0.4, dt, [0.4]).macro[-1]))
    rate = lambda dt: -np.log(decayed(dt) / float(jnp.max(start))) / 0.4 * RHO / (ETA * 4.0)
    errors = [rate(dt) - 1.0 for dt in (0.02, 0.01)]
    assert abs(errors[1]) < 1e-3 and 3.5 < errors[0] / errors[1] < 4.5


def test_a_cavity_is_that_of_navier_and_stokes():
    grid = fx.grids.Box((0.0, 0.0), (1.0, 1.0), (16, 16), periodic=False)
    lid = {"top": fx.fluids.Wall(lambda x, t: 16.0 * x**2 * (1.0 - x) ** 2)}
    total = fx.fluids.Flow(grid, stress="total", density=RHO, viscosity=ETA, boundary=lid)
    plain = fx.fluids.Flow(grid, Re=RHO / ETA, boundary=lid)
    energies = []
    for flow, end in ((total, 2.0), (plain, 2.0)):
        sol = fx.evolve(fx.Bundle(flow, HELD), fx.Quasistatic(), flow.start(), t1=end, dt=0.02, saveat=[end])
        energies.append(float(flow.kinetic_energy(jax.tree.map(lambda x: x[-1], sol.macro))))
    assert energies[0] == pytest.approx(energies[1], rel=0.01)


def test_creeping_flow_comes_to_rest():
    grid = fx.grids.Box(0.0, 2.0, cells=16, periodic=False)
    flow = fx.fluids.Flow(grid, stress="total", density=0.0, viscosity=0.5, force=0.5)
    y = np.linspace(0.0, 2.0, 17)
    sol = run(flow, flow.start(), 20.0, 0.1, [20.0])
    np.testing.assert_allclose(sol.macro.value[-1], 0.5 * y * (2.0 - y) / (2.0 * ETA), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stress": "whole"}, 'stress is "extra" or "total"'),
        ({"stress": "total", "De": 1.0}, "De = 1.0 without effect with stress='total'"),
        ({"stress": "total", "Re": 2.0}, "Re = 2.0 without effect"),
        ({"stress": "total", "density": -1.0}, "density must be a number at least 0"),
        ({"stress": "total", "density": 0.0}, "density = 0 with viscosity = 0 leaves nothing"),
        ({"density": 1.0}, "density = 1.0 without effect with stress='extra'"),
        ({"viscosity": 1.0}, "viscosity = 1.0 without effect"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(fx.BadInput, match=words):
        fx.fluids.Flow(fx.grids.Box(0.0, 1.0, 4, periodic=False), **options)


def test_fibers_without_a_relaxation_time_are_told_of_it():
    flow = fx.fluids.Flow(fx.grids.Box(0.0, 1.0, 4, periodic=False), viscosity_ratio=0.5)
    with pytest.raises(fx.BadInput, match='stress="total"'):
        fx.Bundle(flow, HELD)
