"""Boxes of molecules: conservation, objectivity, equation of state, heat, failures that are told, runs that go on."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.core.sites import lay_out
from fiberax.physics.molecules.box import BROKEN, OVERFLOW, STALE
from fiberax.physics.molecules.start import packed

m = fx.molecules
REST, SHEAR = jnp.zeros((3, 3)), jnp.zeros((3, 3)).at[0, 1].set(1.0)
PULL = jnp.diag(jnp.asarray([1.0, -1.0, 0.0]))


def liquid(potential=None, particles=64, density=0.7, **options):
    return m.Box(m.WCA() if potential is None else potential, particles, density, start=packed(particles), **options)


WARM = liquid()


def steps(box, state, kappa, count, seed=1, dt=None):
    """The state after `count` steps, and the means of stress, potential energy and number of near pairs."""
    span = box.timestep(kappa) if dt is None else jnp.asarray(dt)
    return _steps(box, state, kappa, jnp.asarray(count), jax.random.key(seed), span)


@eqx.filter_jit
def _steps(box, state, kappa, count, key, dt):
    def body(k, carry):
        state, total = carry
        state = box.step(state, kappa, dt, jax.random.fold_in(key, k))
        seen = (state.stress, state.potential, state.near.astype(float))
        return state, jax.tree.map(jnp.add, total, seen)

    none = (jnp.zeros((3, 3)), jnp.zeros(()), jnp.zeros(()))
    state, total = jax.lax.fori_loop(0, count, body, (state, none))
    return state, jax.tree.map(lambda x: x / count, total)


def begin(box, kappa=REST, seed=0):
    return eqx.filter_jit(box.init)(kappa, jax.random.key(seed))


def test_ideal_gas():
    """Without interaction P = ρT (3N − 3)/3N at all times, in a shear flow as well."""
    gas = liquid(m.Pair(lambda r: 0.0 * r, 0.8), temperature=1.7)
    for state in (begin(gas, SHEAR), steps(gas, begin(gas, SHEAR), SHEAR, 20)[0]):
        pressure = -np.trace(state.stress) / 3.0
        np.testing.assert_allclose(pressure, 0.7 * 1.7 * (63 / 64), rtol=1e-12)
    assert abs(float(state.stress[0, 1])) > 1e-3


def test_momentum_is_conserved():
    """For 50 steps; what a flow would multiply, an error of the total momentum, is taken out."""
    for kappa in (SHEAR, PULL):
        state = begin(WARM, kappa)
        state, _ = steps(WARM, state._replace(momenta=state.momenta + 1e-3), kappa, 50)
        assert int(state.code) == 0
        assert np.abs(np.sum(state.momenta, axis=1)).max() < 1e-11
        assert np.abs(np.sum(state.forces, axis=1)).max() < 1e-10


def test_the_trace_of_a_velocity_gradient_is_left_out():
    state = begin(WARM, SHEAR)
    plain, swollen = (steps(WARM, state, kappa, 3)[0] for kappa in (SHEAR, SHEAR + 0.3 * jnp.eye(3)))
    np.testing.assert_allclose(swollen.stress, plain.stress, rtol=1e-10)
    np.testing.assert_allclose(np.linalg.det(swollen.box), 64 / 0.7, rtol=1e-12)


def test_steps_are_of_second_order():
    """Without thermostat: at rest the spread of the energy along a run, in a shear flow the error of the stress."""
    free = liquid(m.Pair(lambda r: 10.0 * (1.5 - r) ** 4, 1.5), thermostat=None)
    state, _ = steps(free, begin(free), REST, 50)  # off the lattice
    runs = [steps(free, state, SHEAR, 4 * part, dt=0.08 / part)[0].stress for part in (1, 2, 4)]
    errors = [float(jnp.abs(a - b).max()) for a, b in itertools.pairwise(runs)]
    assert errors[1] > 1e-7 and 3.5 < errors[0] / errors[1] < 4.5, errors
    spread = []
    for part in (1, 2, 4):
        now, energies = state, []
        for _ in range(12):
            now, _ = steps(free, now, REST, part, dt=0.08 / part)
            energies.append(float(free.total_energy(now, REST)))
        spread.append(np.std(energies))
    assert spread[0] > 1e-7
    assert 3.4 < spread[0] / spread[1] < 4.6 and 3.4 < spread[1] / spread[2] < 4.6, spread


def test_steps_with_a_thermostat_are_of_second_order():
    """In a fast shear flow, where much heat is taken out: one that acts once in a step is of first order."""
    held = liquid(m.Pair(lambda r: 10.0 * (1.5 - r) ** 4, 1.5))
    state, _ = steps(held, begin(held), REST, 50)
    runs = [steps(held, state, 2.0 * SHEAR, 4 * part, dt=0.08 / part)[0] for part in (1, 2, 4)]
    errors = [float(jnp.abs(a.momenta - b.momenta).max()) for a, b in itertools.pairwise(runs)]
    assert errors[1] > 1e-7 and 3.5 < errors[0] / errors[1] < 4.5, errors


def test_objectivity():
    """κ → QκQᵀ with a start that is turned as well gives QσQᵀ, over 50 steps and a strain of 2."""
    q = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    q = jnp.asarray(q * np.linalg.det(q))
    box = liquid(images=3)
    state = begin(box, SHEAR)
    turned = state._replace(momenta=q @ state.momenta, forces=q @ state.forces, box=q @ state.box)
    ours, theirs = steps(box, state, SHEAR, 50)[0], steps(box, turned, q @ SHEAR @ q.T, 50)[0]
    np.testing.assert_allclose(theirs.stress, q @ ours.stress @ q.T, atol=1e-9)
    assert abs(float(ours.stress[0, 1])) > 0.1 and int(ours.code) == int(theirs.code) == 0


def test_a_plane_flow_may_have_two_rows():
    state = begin(WARM, SHEAR)
    plane = steps(WARM, state, SHEAR[:2, :2], 3)[0]
    np.testing.assert_allclose(plane.stress, steps(WARM, state, SHEAR, 3)[0].stress, rtol=1e-12)
    assert WARM.link(plane, SHEAR[:2, :2]).shape == (2, 2)


def test_rates_at_which_thermostats_make_strings_are_remarked():
    assert WARM.remark(np.stack([REST, SHEAR])) == "" == liquid(thermostat=None).remark(np.stack([9.0 * SHEAR]))
    assert "largest velocity gradient is 2" in WARM.remark(np.stack([REST, 2.0 * SHEAR]))
    assert float(WARM.relaxation_time(REST)) < 1.0
    assert float(liquid(bonds=m.FENE([[0, 1], [1, 2]])).relaxation_time(REST)) == 1.5 * (64 / 62) ** 2


def heat_balance(box, count, warm):
    """Heat taken out and change of energy over the work V σ:κ t."""
    state, _ = steps(box, begin(box, SHEAR), SHEAR, warm)
    after, mean = steps(box, state, SHEAR, count)
    volume, time = box.particles / box.density, count * float(box.timestep(SHEAR))
    gained = float(after.heat - state.heat) + volume * float(box.total_energy(after, SHEAR) - box.total_energy(state, SHEAR))
    assert int(after.code) == 0
    return gained / (volume * float(np.sum(mean[0] * SHEAR)) * time)


def test_heat_balance():
    assert abs(heat_balance(liquid(m.LennardJones(1.8), density=0.81), 250, 25) - 1.0) < 0.01


@pytest.mark.slow
def test_heat_balance_of_a_long_run():
    box = m.Box(m.LennardJones(), 256, 0.81)
    assert abs(heat_balance(box, 2500, 100) - 1.0) < 0.003


# Kolafa and Nezbeda, Fluid Phase Equilib. 100 (1994) 1, without the mean-field tails beyond 2.5; good to 0.04 and 0.015.
STATES = {"dense": (0.81, 1.0, 1.876, -5.160), "triple": (0.8442, 0.722, 0.925, -5.631), "thin": (0.6, 1.0, 0.125, -3.906)}


def equation_of_state(name, particles, count, warm):
    density, temperature, pressure, energy = STATES[name]
    box = m.Box(m.LennardJones(), particles, density, temperature, start=packed(particles))
    state, _ = steps(box, begin(box), REST, warm)
    values = []
    for _ in range(10):
        state, mean = steps(box, state, REST, count // 10)
        # Energies are shifted to 0 at the cutoff: −V(r_c) for each pair that is nearer.
        edge = 4.0 * (2.5**-12 - 2.5**-6)
        values.append((-np.trace(mean[0]) / 3.0, float(mean[1] + 0.5 * edge * mean[2]) / particles))
    assert int(state.code) == 0
    values = np.array(values)
    error = values.std(axis=0, ddof=1) / 10**0.5
    return values.mean(axis=0) - (pressure, energy), error


def test_equation_of_state():
    # 125 particles have 0.02 more energy each than many, 216 have 0.012.
    off, error = equation_of_state("thin", 216, 300, 150)
    assert error[0] < 0.06 and np.all(np.abs(off) < np.array([0.04, 0.015]) + 3.0 * error), (off, error)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_equation_of_state_of_a_long_run(name):
    off, error = equation_of_state(name, 512, 1000, 250)
    assert np.all(np.abs(off) < np.array([0.04, 0.015]) + 2.0 * error), (name, off, error)
    assert np.all(error < [0.02, 0.006])


@pytest.mark.slow
def test_stochastic_rescaling_is_canonical():
    """The kinetic energy has the mean and the variance of its distribution, (3N − 3)/2 times T and T²."""
    box = liquid(particles=27, density=0.3, thermostat=m.StochasticRescaling(0.05), temperature=0.8)
    state = begin(box)
    kinetic = []
    for k in range(40):
        state, _ = steps(box, state, REST, 5, seed=k)
        kinetic.append(0.5 * float(jnp.sum(state.momenta**2)))
    kinetic = np.array(kinetic)
    mean, variance = 39 * 0.8, 39 * 0.8**2
    assert abs(kinetic.mean() - mean) < 4.0 * (variance / 40) ** 0.5
    assert 0.4 < kinetic.var() / variance < 1.9
    assert float(jnp.abs(state.heat)) > 0.1


def test_failures_are_told():
    few = liquid(capacity=3)
    off_lattice = steps(WARM, begin(WARM), REST, 25)[0]
    far = steps(liquid(skin=1e-3), off_lattice, REST, 10)[0]
    for box, state, code, word in (
        (few, steps(few, begin(few), REST, 1)[0], OVERFLOW, "capacity"),
        (WARM, far, STALE, "skin"),
    ):
        assert int(box.verdict(state)) == code and word in box.remedy(code)
        assert int(steps(box, state, REST, 1)[0].code) == code  # it stays
    assert int(steps(WARM, begin(WARM), REST, 30)[0].code) == 0
    assert int(begin(few).code) == OVERFLOW  # of the start as well


def test_a_broken_bond_is_told():
    pairs = [[0, 1], [2, 3]]
    box = liquid(bonds=m.FENE(pairs, R0=1.5))
    assert int(steps(box, begin(box), REST, 5)[0].code) == 0
    torn = begin(box)
    torn = torn._replace(positions=torn.positions.at[:, 1].add(0.3))
    state = steps(box, torn, REST, 1)[0]
    assert int(box.verdict(state)) == BROKEN and "bond" in box.remedy(BROKEN)
    assert np.all(np.isfinite(state.stress))


def test_large_boxes_are_advanced_one_by_one():
    large = m.Box(m.WCA(), 4096, 0.7, start=packed(4096))
    assert large.workspace > 2**20 and lay_out(16, 300_000, None, False, large.workspace).chunk == 1
    assert lay_out(16, 9 * 27 * 8, None, False, WARM.workspace).chunk > 2
    assert fx.replicas(large, 3).workspace == 3 * large.workspace


def test_a_box_that_is_too_thin_is_renewed():
    """A cube along the axes of an extension becomes too thin; the new one is turned, and lasts."""
    state = begin(WARM)  # not turned: at rest
    state, _ = steps(WARM, state, PULL, 60)
    assert int(state.renewed) == 1 and int(state.code) == 0
    again, _ = steps(WARM, state, PULL, 60)
    assert int(again.renewed) == 1
    turned, _ = steps(WARM, begin(WARM, PULL), PULL, 60)
    assert int(turned.renewed) == 0
    np.testing.assert_allclose(np.linalg.det(again.box), 64 / 0.7, rtol=1e-12)
    flat = state._replace(box=WARM.length * jnp.diag(jnp.asarray([1.0, 4.0, 0.25])), near=jnp.zeros_like(state.near))
    other = eqx.tree_at(lambda box: box.start, WARM, state.positions)
    once, _ = steps(other, flat, REST, 1)
    assert int(once.renewed) == 2 and int(once.code) == 0 and int(once.near) > 0


def test_starts():
    """A melt is no lattice; sites share it, turned and deformed, and differ in their momenta."""
    path = np.linalg.norm(np.diff(packed(70), axis=1), axis=0)
    np.testing.assert_allclose(path, 0.2, rtol=1e-12)
    box = m.Box(m.WCA(), 64, 0.7, equilibration=2.0)
    one, two = begin(box, seed=0), begin(box, seed=1)
    np.testing.assert_array_equal(one.positions, two.positions)
    assert np.abs(one.momenta - two.momenta).min(initial=1.0) > 0.0
    assert np.abs(np.sort(box.start[0]) - np.sort(packed(64)[0])).max() > 0.02
    np.testing.assert_allclose(0.5 * np.sum(one.momenta**2), 1.5 * 63, rtol=1e-12)
    assert float(begin(box, SHEAR).stress[0, 1] - one.stress[0, 1]) > 0.5
    same = m.Box(m.WCA(), 64, 0.7, equilibration=2.0)
    np.testing.assert_array_equal(box.start, same.start)


def test_chains():
    """Bonds of a melt keep near their length of 0.97, and the chain carries a stress."""
    box = m.chains(beads=4, count=12, equilibration=4.0)
    state = begin(box)
    _, square = box.bonds.lengths(state.positions, state.box)
    lengths = np.sqrt(np.asarray(square)[np.asarray(square) > 0.0])
    assert lengths.size == 2 * 36 and 0.85 < lengths.min() < lengths.max() < 1.2
    assert abs(lengths.mean() - 0.97) < 0.03
    assert float(begin(box, SHEAR).stress[0, 1] - state.stress[0, 1]) > 1.0


class Held(fx.AbstractMacro):
    """Velocity gradients that decay slowly."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return -0.1 * macro + 1e-3 * response


MIXED = jnp.zeros((3, 3)).at[0, 1].set(2.0).at[1, 0].set(1.0)


@pytest.mark.slow
def test_runs_are_resumed_bit_by_bit_and_stop_at_failures():
    """Lists are no part of what is kept. Where nothing is renewed, a box in a flow that draws it out ends the run."""
    box = liquid(particles=27, density=0.6, images=0, renew=False)
    bundle, keeper = fx.Bundle(Held(), box), Keeper()
    start, driver = jnp.stack([SHEAR, MIXED]), fx.Seamless(separation=np.inf)
    options = {"dt": 0.04, "saveat": [0.16, 0.32], "stepper": fx.ForwardEuler(), "key": jax.random.key(4)}
    whole = fx.evolve(bundle, driver, start, t1=0.32, checkpoint=keeper, **options)
    assert not np.any(whole.result)
    snapshot = next(s for s in keeper.snapshots if 0 < s.step < 8)
    rest = fx.evolve(bundle, driver, start, t1=0.32, start=snapshot, **options)
    jax.tree.map(np.testing.assert_array_equal, whole.section, rest.section)
    sizes = jax.tree.map(lambda x: x[0].size, whole.section.state)
    assert sum(jax.tree.leaves(sizes)) == 9 * 27 + 18 + 5
    assert np.abs(whole.response[-1][0] - whole.response[-1][1]).max() > 0.1
    with pytest.raises(fx.FiberFailure, match=r"1 of 2 fibers failed.*site 1.*thinner than its lists allow"):
        fx.evolve(bundle, driver, start, t1=3.2, **(options | {"saveat": [1.6, 3.2]}))


@pytest.mark.slow
def test_standard_errors():
    """Of a sample: right within 25 %, from the spread of 48 independent ones."""
    box = liquid(particles=27, density=0.7)
    conditions = jnp.broadcast_to(0.5 * SHEAR, (48, 3, 3))
    found = fx.samples(box, conditions, steps=1280, replicas=1)
    value, error = np.asarray(found.value)[:, 0, 1], np.asarray(found.stderr)[:, 0, 1]
    assert abs(np.sqrt(np.mean(error**2)) / value.std(ddof=1) - 1.0) < 0.25
    assert np.mean(value) > 0.3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"potential": 3.0}, "potential must be one of"),
        ({"particles": 1}, "at least 2"),
        ({"density": -1.0}, "density must be positive"),
        ({"density": 20.0}, "must be more than the radius"),
        ({"images": 1}, "images is the number of axes"),
        ({"thermostat": "isokinetic"}, "thermostat must be"),
        ({"bonds": [[0, 1]]}, "bonds must be"),
        ({"bonds": m.FENE([[0, 900]])}, "names particle 900"),
        ({"bonds": m.FENE([[0, 1]]), "renew": True}, "chains need long to relax"),
        ({"capacity": 0}, "capacity must be"),
        ({"start": np.zeros((3, 5))}, "start must have the shape"),
        ({"equilibration": -1.0}, "equilibration must be positive"),
        pytest.param({"capacity": 2}, "has failed: a particle has more neighbours", marks=pytest.mark.slow),
    ],
)
def test_refusals(options, message):
    with pytest.raises(fx.BadInput, match=message):
        m.Box(**{"potential": m.WCA(), "particles": 27, "density": 0.6, **options})


def test_a_condition_of_another_shape_is_refused(unchecked):
    with pytest.raises(fx.BadInput, match="velocity gradient, 3x3"):
        WARM.init(jnp.zeros(3), jax.random.key(0))


def test_single_precision_is_of_positions_alone():
    """Forces to their rounding, stress and energy to that of sums; a box in shear keeps balance and momentum."""
    options = {"density": 0.81, "thermostat": m.Isokinetic()}
    double, single = (liquid(m.LennardJones(1.8), single=flag, **options) for flag in (False, True))
    state = steps(double, begin(double), SHEAR, 25)[0]
    rounded = state._replace(positions=state.positions.astype(jnp.float32))
    index = double._list(state.positions, state.box, jnp.zeros(())).index
    ours, theirs = (eqx.filter_jit(b._sums)(s.positions, s.box, index) for b, s in ((double, state), (single, rounded)))
    assert theirs.forces.dtype == theirs.virial.dtype == theirs.energy.dtype == jnp.float64
    size = float(jnp.abs(ours.forces).max())
    off = float(jnp.abs(ours.forces - theirs.forces).max())
    assert 1e-9 * size < off < 1e-4 * size
    np.testing.assert_allclose(theirs.virial, ours.virial, rtol=1e-4, atol=1e-4 * float(jnp.abs(ours.virial).max()))
    assert float(theirs.energy) == pytest.approx(float(ours.energy), rel=1e-5)
    start = begin(single, SHEAR)
    assert start.positions.dtype == jnp.float32 and start.momenta.dtype == start.box.dtype == jnp.float64
    after, _ = steps(single, start, SHEAR, 250)
    assert int(after.code) == 0 and np.abs(np.sum(after.momenta, axis=1)).max() < 1e-3
    assert after.positions.dtype == jnp.float32 and float(after.positions.max()) < 2.0
    assert abs(heat_balance(single, 250, 25) - 1.0) < 0.01


def test_chains_are_for_channels():
    """In two dimensions their memory would have to move with the flow; simple liquids forget at once."""
    square = fx.fluids.Flow(fx.grids.Box((0.0, 0.0), (9.0, 9.0), (3, 3), periodic=False), stress="total", density=0.6, dim=3)
    channel = fx.fluids.Flow(fx.grids.Box(0.0, 9.0, 3, periodic=False), stress="total", density=0.6, dim=3)
    chains = liquid(bonds=m.FENE([[0, 1], [1, 2]]))
    for fiber in (chains, fx.replicas(chains, 2)):
        with pytest.raises(fx.Mismatch, match="chains remember the flow along their way"):
            fx.Bundle(square, fiber, transport=fx.Fixed())
        with pytest.raises(fx.Mismatch, match="Nor may they stay at their sites: chains remember"):
            fx.Bundle(square, fiber)
        fx.Bundle(channel, fiber)
    fx.Bundle(square, WARM, transport=fx.Fixed())
    with pytest.raises(fx.Mismatch, match=r"Use fx\.Fixed\(\)"):
        fx.Bundle(square, WARM)
