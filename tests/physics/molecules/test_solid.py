"""Solids in thermal motion: the crystal at T = 0, harmonic free energy, equipartition, bodies, failures that are told."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.molecules.box import OVERFLOW, STALE, THIN
from fiberax.physics.molecules.lattice import widths

potentials = fx.solids.potentials
FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
TILT = np.array([[0.02, 0.03, 0.0], [-0.01, -0.015, 0.02], [0.0, 0.01, 0.01]])
SMOOTH = {"cutoff": 1.7, "scheme": "smooth"}


def fcc(potential, a=1.55):
    return fx.solids.Crystal(a * FCC, [[0.0] * 3], ["Cu"], potential)


def solid(potential=None, a=1.55, cells=(3, 3, 3), **options):
    potential = potentials.LennardJones(**SMOOTH) if potential is None else potential
    return fx.molecules.Solid(fcc(potential, a), cells, **options)


def silicon(**options):
    basis = [[0.0] * 3, [0.25] * 3]
    crystal = fx.solids.Crystal(5.431 * FCC, basis, ["Si", "Si"], potentials.StillingerWeber("Si"))
    return crystal, fx.molecules.Solid(crystal, (2, 2, 2), **options)


COLD = {"temperature": 1e-30, "dt": 0.005, "friction": 1.0}


@pytest.mark.parametrize(
    "potential",
    [
        potentials.LennardJones(**SMOOTH),
        potentials.Morse(1.0, 6.0, 1.1, **SMOOTH),
        potentials.SuttonChen(1.0, 1.55, 30.0, 9, 6, cutoff=1.7),
    ],
    ids=lambda p: type(p).__name__,
)
def test_without_motion_it_is_the_crystal(potential):
    """P and the energy of the Cauchy-Born rule, at a strain and a rotation."""
    crystal, piece = fcc(potential), solid(potential, **COLD)
    state = eqx.filter_jit(piece.init)(jnp.asarray(TILT), jax.random.key(0))
    none = jnp.zeros((0, 3))
    np.testing.assert_allclose(piece.link(state, TILT), crystal.link(none, jnp.asarray(TILT)), rtol=1e-9, atol=1e-10)
    energy = float(piece.total_energy(state, TILT))
    assert energy == pytest.approx(float(crystal.energy(none, jnp.asarray(TILT))), rel=1e-10)
    assert np.abs(state.forces).max() < 1e-10


def test_a_piece_may_shrink_below_twice_its_radius():
    """At the reference an atom sees each other one once; an eighth thinner it sees two images of some, and they are found."""
    potential = potentials.LennardJones(**SMOOTH)
    crystal, piece = fcc(potential), solid(potential, cells=(5, 5, 5), skin=0.3, capacity=90, **COLD)
    thin = -0.12 * jnp.eye(3)
    across = [float(widths(h).min()) for h in (piece.lattice, piece._box(thin))]
    assert across[1] < 2.0 * piece.radius < across[0] < 2.5 * piece.radius
    state = eqx.filter_jit(piece.init)(thin, jax.random.key(0))
    state = eqx.filter_jit(piece.step)(state, thin, piece.dt, jax.random.key(1))
    assert state.code == 0
    np.testing.assert_allclose(piece.link(state, thin), crystal.link(jnp.zeros((0, 3)), thin), rtol=1e-9, atol=1e-9)


def test_stress_and_tangent_are_those_of_the_present_gradient():
    """A body moves between two steps of the piece: stress, energy and Born's moduli are those of the crystal there."""
    potential = potentials.LennardJones(**SMOOTH)
    crystal, piece = fcc(potential), solid(potential, **COLD)
    state, none, there = eqx.filter_jit(piece.init)(jnp.asarray(TILT), jax.random.key(0)), jnp.zeros((0, 3)), 0.5 * TILT.T
    np.testing.assert_allclose(piece.link(state, there), crystal.link(none, there), rtol=1e-9, atol=1e-10)
    assert float(piece.total_energy(state, there)) == pytest.approx(float(crystal.energy(none, there)), rel=1e-10)
    along = lambda fiber, u: jax.jit(lambda a: jax.jvp(lambda a: fiber.link(u, a), (a,), (jnp.asarray(TILT),))[1])(there)
    np.testing.assert_allclose(along(piece, state), along(crystal, none), rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_a_body_that_swings_neither_gains_nor_loses():
    """Without thermal motion the piece is elastic. With stresses that lag by half a step this one gains 145 % of its energy."""
    mesh = fx.grids.hexes((0.0,) * 3, (10.0,) * 3, cells=(1, 1, 1))
    body = fx.solids.Elasticity(mesh, density=1.0, fixed={"left": True})
    start = body.start(displacement=lambda x: jnp.stack([0.002 * x[..., 0], 0.0 * x[..., 0], 0.0 * x[..., 0]], -1))
    piece = solid(temperature=1e-30, dt=0.005, friction=1e-9)
    bundle, times = fx.Bundle(body, piece), 0.04 * np.arange(0, 401, 4)
    sol = fx.evolve(bundle, fx.Seamless(separation=np.inf), start, t1=16.0, dt=0.04, saveat=times, stepper=fx.Verlet())
    kinetic = np.sum(np.asarray(body.mass)[:, None] * np.asarray(sol.macro.velocity) ** 2, axis=(1, 2))
    first, *_, last = (x.max() for x in np.array_split(kinetic, 4))
    assert last == pytest.approx(first, rel=0.05)


@pytest.mark.slow
def test_without_motion_silicon_is_the_crystal():
    """Three-body forces, with the shift of the second atom at zero in both."""
    crystal, piece = silicon(**COLD)
    state = eqx.filter_jit(piece.init)(jnp.asarray(TILT), jax.random.key(0))
    there = crystal.link(jnp.zeros((1, 3)), jnp.asarray(TILT))
    np.testing.assert_allclose(piece.link(state, TILT), there, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("potential", [None, potentials.SuttonChen(1.0, 1.55, 30.0, 9, 6, cutoff=1.7)], ids=["pair", "many"])
def test_forces_are_slopes_of_the_energy(potential):
    """Off the lattice, where both ends of a bond of many bodies pull differently."""
    piece = solid(potential, **COLD)
    h = piece.lattice
    s = piece.start + 0.02 * jax.random.normal(jax.random.key(1), piece.start.shape)

    @jax.jit
    def both(s):
        index = piece._list(s - jnp.floor(s), h, jnp.sum(s)).index
        inside = s - jnp.floor(s)
        slope = jax.grad(lambda s: piece._sums(s, h, index).energy)(inside)
        return piece._sums(inside, h, index).forces, -jnp.linalg.solve(h.T, slope)

    forces, slopes = both(s)
    assert np.abs(forces).max() > 1.0
    np.testing.assert_allclose(forces, slopes, rtol=1e-9, atol=1e-9)


def harmonic(a, cells, T, A):
    """P of the harmonic free energy E₀ + ½ T ln det H, by sums over all pairs and images that are written out here."""
    count = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(-1, 3)
    x = count @ (a * FCC)
    n, rows = len(x), a * FCC * np.asarray(cells)[:, None]
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ rows
    d = x[None, :, None] - x[:, None, None] + shifts
    i, j, k = np.nonzero(np.linalg.norm(d, axis=-1) > 1e-9)
    bonds = d[i, j, k]
    near = np.linalg.norm(bonds, axis=1) < 2.2
    i, j, bonds = i[near], j[near], bonds[near]

    def phi(square):
        sixth = square**-3
        t = jnp.clip((square - 1.36**2) / (1.7**2 - 1.36**2), 0.0, 1.0)
        return 4.0 * sixth * (sixth - 1.0) * (1.0 - t**3 * (10.0 - t * (15.0 - 6.0 * t)))

    def energy(u, F):
        r = bonds @ F.T + (u[j] - u[i])
        return 0.5 * jnp.sum(phi(jnp.sum(r * r, axis=1)))

    def free(F):
        """With the first atom held; positions of the others in the box, whose volume the kinetic part holds."""
        held = lambda q: energy(jnp.concatenate([jnp.zeros((1, 3)), q.reshape(-1, 3)]), F)
        H = jax.hessian(held)(jnp.zeros(3 * n - 3))
        return held(jnp.zeros(3 * n - 3)) + 0.5 * T * jnp.linalg.slogdet(H)[1]

    volume = abs(np.linalg.det(rows))
    return jax.jit(jax.grad(free))(jnp.asarray(np.eye(3) + A)) / volume


@pytest.mark.slow
def test_the_thermal_stress_is_that_of_the_harmonic_free_energy():
    """At T = 0.002 the next order, T², is far below the standard errors; the thermal part is many of them."""
    T, a, cells = 0.002, 1.55, (3, 3, 3)
    piece = solid(a=a, cells=cells, temperature=T)
    found = fx.sample(piece, TILT, steps=1280, replicas=2)
    cold, exact = harmonic(a, cells, 0.0, TILT), harmonic(a, cells, T, TILT)
    assert int(found.result) == 0
    off = np.abs(found.value - exact) / found.stderr
    assert off.max() < 4.5, off
    assert (np.abs(exact - cold) / found.stderr).max() > 60.0


@pytest.mark.slow
def test_energy_is_parted_equally():
    """⟨E − E₀⟩ = ½ (3N − 3) T in the lattice and in the momenta, at a low temperature."""
    T = 0.001
    piece = solid(temperature=T)
    cold = float(eqx.filter_jit(piece.init)(jnp.zeros((3, 3)), jax.random.key(0)).potential)
    link = lambda fiber, s, A: jnp.stack([s.potential - cold, 0.5 * jnp.sum(s.momenta**2)]) / (0.5 * (3 * 27 - 3) * T)
    found = fx.sample(piece, np.zeros((3, 3)), steps=1280, replicas=2, link=link)
    assert np.all(found.stderr < 0.02) and int(found.result) == 0
    assert np.all(np.abs(found.value - 1.0) < 4.0 * found.stderr + 0.005), (found.value, found.stderr)


@pytest.mark.slow
def test_a_body_in_motion_takes_it():
    """A block that is held stretched and let go begins with the acceleration of the crystal's stress, about."""
    mesh = fx.grids.hexes((0.0, 0.0, 0.0), (40.0, 40.0, 40.0), cells=(1, 1, 1))
    body = fx.solids.Elasticity(mesh, density=1.0, fixed={"left": True})
    start = body.start(displacement=lambda x: jnp.stack([0.03 * x[..., 0], 0.0 * x[..., 0], 0.0 * x[..., 0]], -1))
    piece = solid(temperature=0.005)
    dt = float(piece.timestep(None))
    driver = fx.Seamless(separation=np.inf)
    sol = fx.evolve(fx.Bundle(body, piece), driver, start, t1=20 * dt, dt=dt, saveat=[0.0, 20 * dt])
    assert not np.any(np.asarray(sol.result))
    free = np.asarray(mesh.points)[:, 0] > 1.0
    assert np.all(np.asarray(sol.macro.velocity)[-1][free, 0] < 0.0)
    crystal = fcc(potentials.LennardJones(**SMOOTH))
    cold = crystal.link(jnp.zeros((0, 3)), jnp.diag(jnp.array([0.03, 0.0, 0.0])))
    mean = np.mean(np.asarray(sol.response)[0], axis=0)
    assert mean[0, 0] == pytest.approx(float(cold[0, 0]), rel=0.1)


BODY = fx.solids.Elasticity(fx.grids.hexes((0.0,) * 3, (40.0,) * 3, cells=(1, 1, 1)), density=1.0, fixed={"left": True})


NEWTON = {
    "steady": fx.steady,
    "continuation": lambda *pieces: fx.continuation(*pieces, dt=0.5),
    "Newmark": lambda *pieces: fx.evolve(*pieces, t1=1.0, dt=0.5, stepper=fx.Newmark()),
}


@pytest.mark.parametrize(
    ("run", "driver", "told"),
    [
        ("steady", fx.Quasistatic(), "Solid is sampled, .* no tangent"),
        ("continuation", fx.Quasistatic(), "Solid is sampled, .* no tangent"),
        ("Newmark", fx.Quasistatic(), "Solid is sampled, .* no tangent"),
        ("steady", fx.Seamless(), "Solid has only dynamics"),
        ("continuation", fx.Seamless(), "Solid has only dynamics"),
    ],
    ids=lambda x: x if isinstance(x, str) and x in NEWTON else type(x).__name__,
)
def test_equilibria_by_newton_are_refused_before_anything_is_computed(monkeypatch, run, driver, told):
    monkeypatch.setattr("fiberax.core.field.Field.begin", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(fx.Mismatch, match=told + r".*in time, by fx\.evolve"):
        NEWTON[run](fx.Bundle(BODY, solid(**COLD)), driver, BODY.start())


def test_failures_are_told():
    piece = solid(temperature=0.01, dt=0.005, friction=1.0)
    step = eqx.filter_jit(piece.step)
    state = eqx.filter_jit(piece.init)(jnp.zeros((3, 3)), jax.random.key(0))
    assert np.mean(np.square(state.momenta)) == pytest.approx(2.0 * 0.01, rel=0.4)  # 2 m T with m = 1, of 81 numbers
    code = lambda state, A, fiber=piece: int(
        fiber.verdict(eqx.filter_jit(fiber.step)(state, A, fiber.timestep(A), jax.random.key(1)))
    )
    assert int(piece.verdict(step(state, jnp.zeros((3, 3)), piece.timestep(None), jax.random.key(1)))) == 0
    assert code(state, jnp.diag(jnp.array([-0.6, 0.0, 0.0]))) == THIN and "more cells" in piece.remedy(THIN)
    fast = state._replace(momenta=300.0 * (1.0 + state.momenta))
    assert code(fast, jnp.zeros((3, 3))) == STALE and "skin" in piece.remedy(STALE)
    short = solid(temperature=0.01, dt=0.005, friction=1.0, capacity=5)
    assert code(state, jnp.zeros((3, 3)), short) == OVERFLOW
    assert int(short.verdict(eqx.filter_jit(short.init)(jnp.zeros((3, 3)), jax.random.key(0)))) == OVERFLOW


LJ2 = fx.solids.Crystal(np.eye(2), [[0.0, 0.0]], ["A"], potentials.LennardJones(**SMOOTH))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fx.molecules.Solid(3.0), "must be a fx.solids.Crystal; it is a float"),
        (lambda: fx.molecules.Solid(LJ2), "three dimensions"),
        (lambda: solid(cells=(2, 3, 3)), "must be more than the radius"),
        (lambda: solid(cells=(2, 3)), "three whole numbers"),
        (lambda: solid(temperature=0.0), "temperature must be positive"),
        (lambda: solid(capacity=0), "capacity must be a whole number"),
        (lambda: solid(potentials.LennardJones(cutoff=None)), "has no cutoff"),
        (lambda: solid(potentials.Pair(lambda r: 0.0 * r, 1.7)), "not held by their neighbours"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(fx.BadInput, match=words):
        make()


def test_the_condition_is_a_gradient_in_three_dimensions():
    piece = solid(**COLD)
    with pytest.raises(fx.Mismatch, match=r"A \(3, 3\)"):
        piece.init(jnp.zeros((2, 2)), jax.random.key(0))
