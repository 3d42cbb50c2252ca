"""Bodies whose stress comes from electrons: orbitals in motion, the energy law, ground states at every step."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx


def helium():
    """Two electrons around a soft charge, in one orbital."""
    ion = fx.solids.ions.Gaussian(2.0, 0.7)
    return fx.solids.KohnSham(4.5 * np.eye(3), (ion, (0.0, 0.0, 0.0)), cutoff=1.5, kgrid=1, xc=None)


@pytest.mark.slow
def test_a_wave_over_orbitals_in_motion():
    """Strains near those over ground states, and a total energy that is kept to second order in the step."""
    macro = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=8), density=1.0)
    x = macro.positions()[:, 0] - 0.5
    start = macro.start(0.01 * np.exp(-0.5 * (x / 0.15) ** 2))
    fiber = fx.Mapped(fx.solids.uniaxial(helium()), state=fx.AtRest(1e-11))
    step = fx.stiffness(fx.Bundle(macro, fiber), start).step

    def run(bundle, driver, dt):
        found = fx.evolve(bundle, driver, start, t1=8 * step, dt=dt, stepper=fx.Verlet(), saveat=[0.0, 8 * step])
        energies = [float(macro.energy(jax.tree.map(lambda v, k=k: v[k], found.macro), found.energy[k])) for k in range(2)]
        return np.asarray(found.macro.position[-1]), energies[1] - energies[0]

    ground, drift = run(fx.Bundle(macro, fiber), fx.Quasistatic(1e-10), 0.2 * step)
    size = np.ptp(ground)
    moving = fx.relax(fiber, mass=4.0 / helium().volume * 2.0 * (0.05 * step) ** 2, friction=0.0)
    drifts = []
    for substeps, dt in ((20, 0.2 * step), (10, 0.1 * step)):
        carried, lost = run(fx.Bundle(macro, moving), fx.Seamless(substeps=substeps, separation=math.inf), dt)
        np.testing.assert_allclose(carried, ground, atol=0.05 * size)
        drifts.append(abs(lost))
    assert max(drifts) < 1e-6 and abs(drift) < 1e-6


@pytest.mark.slow
def test_a_body_pulled_over_densities_has_the_stress_of_its_cell():
    """One element between free sides: the cell without lateral stress."""
    fcc = 7.653 * 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    cell = fx.solids.ThomasFermi(fcc, fx.solids.ions.Gaussian(3.0, 0.4754907726), 3, grid=(9,) * 3, xc="lda_pw")
    mesh = fx.grids.tets((0, 0, 0), (1, 1, 1), cells=(1, 1, 1))
    body = fx.solids.Elasticity(
        mesh, fixed={"left": 0, "front": 2, "bottom": 1}, displacement={"right": {0: lambda x, t: 0.01}}
    )
    found = fx.steady(fx.Bundle(body, cell), fx.Quasistatic(1e-10), body.start(), tolerance=1e-6)
    conditions = body.conditions(jax.tree.map(lambda v: v[-1], found.macro))
    P = np.asarray(found.response[-1])
    size = np.abs(P).max()
    assert np.abs(P[:, [1, 2], [1, 2]]).max() < 1e-3 * size
    np.testing.assert_allclose(P, np.broadcast_to(P[0], P.shape), atol=1e-3 * size)
    np.testing.assert_allclose(fx.response(cell, jnp.asarray(conditions[0])).value, P[0], atol=1e-5 * size)
