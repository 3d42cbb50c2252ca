"""Fibers with memory: closed forms by every way to drive them, one motion of the history per step, no trace of trials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Damped, Decay, ElasticPlastic, Maxwell, Spring

QUASISTATIC = fx.Quasistatic()
PLASTIC, MAXWELL = ElasticPlastic(), Maxwell(spring=0.5, modulus=2.0, viscosity=1.5)
MEMORIES = {"plastic": PLASTIC, "maxwell": MAXWELL}


def cycle(t):
    """A load that goes up, back and beyond: 3 sin(2πt)."""
    return 3.0 * jnp.sin(2.0 * jnp.pi * t)


class Loaded(fx.AbstractMacro):
    """Two sites pulled by springs of stiffness 1 whose ends move as the load: rate = 8 (load(t) − U − A), site 1 less far."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 8.0 * (jnp.asarray([1.0, 0.7]) * cycle(t) - macro - response)


class Given(fx.AbstractMacro):
    """Strains that move at a prescribed rate, whatever the fibers answer: dU/dt of a load that returns at t = 0.5."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jnp.where(t < 0.5, 4.0, -4.0) + jnp.zeros_like(macro)


class Swinging(fx.AbstractInertial):
    """Two masses, each held by its fiber."""

    def conditions(self, macro):
        return macro.position

    def acceleration(self, t, macro, response):
        return -response


class Keeper(fx.AbstractRecorder):
    """Takes a snapshot at each look."""

    def __init__(self):
        self.snapshots, self.records = [], []

    def due(self):
        return True

    def save(self, snapshot):
        self.snapshots.append(snapshot)

    def record(self, record):
        self.records.append(record)


def same(x, y):
    jax.tree.map(np.testing.assert_array_equal, x, y)


def histories(fiber, strains, spans):
    """The histories after each step of a path of strains (T, sites) from rest, steps `spans` (T,), by one acceptance each."""

    def step(history, at):
        strain, span = at
        one = fiber.increment(history, span)
        state, _ = one.solver.solve(one, history.strain, strain, 1e-10)
        history = fiber.accept(history, state, strain, span)
        return history, history

    run = jax.jit(jax.vmap(lambda path: jax.lax.scan(step, fiber.begin(path[0]), (path, jnp.asarray(spans)))[1], 1, 1))
    return jax.tree.map(np.asarray, run(jnp.asarray(strains)))


def truth(fiber, strains, dt):
    """Closed form of the stresses at every site (T, sites)."""
    one = (lambda path: fiber.truth(path, dt)) if isinstance(fiber, Maxwell) else fiber.truth
    return np.stack([one(path) for path in np.asarray(strains).T], axis=1)


def moves_once(fiber, solution, spans):
    """The history at the end is that of one acceptance per step along the path that was taken."""
    path = np.asarray(solution.macro)[1:] if len(solution.ts) == len(spans) + 1 else np.asarray(solution.macro)
    found = jax.tree.map(lambda x: x[-1], histories(fiber, path, spans))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), solution.section.history, found)
    assert all(np.all(x != 0.0) for x in found)  # both sites have left the elastic range


@pytest.mark.parametrize("name", MEMORIES)
def test_load_path_with_unloading_by_continuation(name):
    """Balance U + A(U; path) = load(t) along a cycle, each equilibrium against the closed form along the strains found."""
    fiber = MEMORIES[name]
    keeper = Keeper()
    bundle, options = fx.Bundle(Loaded(), fiber), {"t1": 1.0, "dt": 0.05}
    sol = fx.continuation(bundle, QUASISTATIC, jnp.zeros(2), checkpoint=keeper, **options)
    assert sol.stats["stopped"] is None and len(sol.ts) == 21
    np.testing.assert_allclose(np.diff(sol.ts), 0.05, rtol=1e-9)
    np.testing.assert_allclose(sol.response, truth(fiber, sol.macro, 0.05), rtol=1e-9, atol=1e-12)
    balance = np.outer(cycle(sol.ts), [1.0, 0.7]) - sol.macro - sol.response
    np.testing.assert_allclose(balance, 0.0, atol=1e-9)
    moves_once(fiber, sol, np.diff(sol.ts))
    assert np.ptp(sol.response - 2.0 * sol.macro) > 0.3  # the path does leave the elastic range

    snapshot, again = keeper.snapshots[7], Keeper()
    rest = fx.continuation(bundle, QUASISTATIC, jnp.zeros(2), checkpoint=again, start=snapshot, **options)
    same([r.macro for r in keeper.records[snapshot.saved :]], [r.macro for r in again.records])
    same([r.response for r in keeper.records[snapshot.saved :]], [r.response for r in again.records])
    same(sol.section, rest.section)
    assert 0 < snapshot.saved < 21


STEPPERS = {"backward-euler": fx.BackwardEuler(), "sdirk2": fx.SDIRK2(), "heun": fx.Heun()}


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("name", MEMORIES)
def test_evolution_is_the_closed_form_along_its_path(name, stepper):
    """Responses seen at the end of each step are those of the closed form; the history has moved once for each step."""
    fiber, dt = MEMORIES[name], 0.0625
    ts = np.arange(1, 17) * dt
    keeper, bundle = Keeper(), fx.Bundle(Loaded(), fiber)
    options = {"t1": 1.0, "dt": dt, "saveat": ts, "stepper": STEPPERS[stepper]}
    sol = fx.evolve(bundle, QUASISTATIC, jnp.zeros(2), checkpoint=keeper, **options)
    assert not sol.result.any()
    np.testing.assert_allclose(sol.response[-16:], truth(fiber, sol.macro[-16:], dt), rtol=1e-9, atol=1e-12)
    moves_once(fiber, sol, np.full(16, dt))
    lost = np.asarray(histories(fiber, sol.macro[-16:], np.full(16, dt)).dissipated)
    assert np.all(np.diff(lost, axis=0) >= 0.0) and np.all(lost >= 0.0) and lost[-1, 0] > 0.1

    snapshot = next(s for s in keeper.snapshots if s.step == 7)
    rest = fx.evolve(bundle, QUASISTATIC, jnp.zeros(2), start=snapshot, **options)
    part = jax.tree.map(lambda x: x[snapshot.saved :], (sol.macro, sol.response))
    same((part, sol.section), ((rest.macro, rest.response), rest.section))


def test_the_error_falls_with_the_order_of_the_step():
    """A Maxwell element under its own load, dU/dt = 8 (load − U − A): implicit Euler of the fiber limits the order to 1.

    Against the ordinary differential equation for (U, e), by a fine classical Runge-Kutta scheme.
    """
    E0, E, eta = 0.5, 2.0, 1.5

    def slope(t, y):
        u, e = y
        return jnp.stack([8.0 * (cycle(t) - u - E0 * u - E * (u - e)), E / eta * (u - e)])

    def rk4(y, t, h=1.0 / 512):
        a = slope(t, y)
        b = slope(t + h / 2, y + h / 2 * a)
        c = slope(t + h / 2, y + h / 2 * b)
        d = slope(t + h, y + h * c)
        return y + h / 6 * (a + 2 * b + 2 * c + d), None

    exact = jax.lax.scan(rk4, jnp.zeros(2), jnp.arange(512) / 512)[0][0]
    for stepper in (fx.BackwardEuler(), fx.SDIRK2()):
        go = lambda dt, s=stepper: fx.evolve(fx.Bundle(Loaded(), MAXWELL), QUASISTATIC, jnp.zeros(2), t1=1.0, dt=dt, stepper=s)
        errors = [abs(float(go(dt).macro[-1, 0] - exact)) for dt in (1 / 32, 1 / 64)]
        assert 1.6 < errors[0] / errors[1] < 2.6 and errors[1] < 0.03, (stepper, errors)


INERTIAL = {"verlet": fx.Verlet(), "newmark": fx.Newmark()}


@pytest.mark.parametrize("stepper", INERTIAL)
@pytest.mark.parametrize("name", MEMORIES)
def test_inertial_models(name, stepper):
    """A mass on a fiber with memory: closed form along the path, and the energy it loses is what the fiber dissipates."""
    fiber, dt = MEMORIES[name], 1.0 / 64
    steps = 128
    ts = np.arange(1, steps + 1) * dt
    start = fx.Moving(jnp.zeros(2), jnp.asarray([2.0, 1.2]))
    sol = fx.evolve(
        fx.Bundle(Swinging(), fiber), QUASISTATIC, start, t1=steps * dt, dt=dt, saveat=ts, stepper=INERTIAL[stepper]
    )
    position, velocity = sol.macro
    np.testing.assert_allclose(sol.response[-steps:], truth(fiber, position[-steps:], dt), rtol=1e-9, atol=1e-12)
    past = histories(fiber, position[-steps:], np.full(steps, dt))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[-1], rtol=1e-12, atol=1e-15), sol.section.history, past)
    elastic = 0.5 * 2.0 * (position[-steps:] - past.strain) ** 2
    stored = elastic + (0.25 * past.accumulated**2 if name == "plastic" else 0.25 * position[-steps:] ** 2)
    kinetic = 0.5 * velocity[-steps:] ** 2
    begun = 0.5 * np.asarray(start.velocity) ** 2
    gone = begun - (kinetic + stored)[-1]
    assert np.all(past.dissipated[-1] > 0.1)
    np.testing.assert_allclose(gone, past.dissipated[-1], atol=0.05 * begun[0])


def test_closed_cycles_dissipate():
    """Work of a strain cycle that closes is at least what was dissipated, and that at least 0; equal but for the step."""
    for fiber in (PLASTIC, MAXWELL):
        excess = []
        for steps in (64, 256):
            strains = np.concatenate([[0.0], 1.5 * np.sin(4 * np.pi * np.arange(1, 2 * steps + 1) / (2 * steps))])
            dt = 2.0 / (2 * steps)
            stress = np.concatenate([[0.0], truth(fiber, strains[1:, None], dt)[:, 0]])
            past = histories(fiber, strains[1:, None], np.full(2 * steps, dt))
            end = jax.tree.map(lambda x: float(x[-1, 0]), past)
            # work in the sense of implicit Euler: stress at the end of a step times its strain increment
            work = np.sum(stress[1:] * np.diff(strains))
            held = 0.5 * 2.0 * (strains[-1] - end.strain) ** 2
            held += 0.25 * end.accumulated**2 if fiber is PLASTIC else 0.25 * strains[-1] ** 2
            assert work - held >= end.dissipated > 0.5
            excess.append(work - held - end.dissipated)
            assert np.all(np.diff(past.dissipated[:, 0]) >= 0.0)
        assert 3.0 < excess[0] / excess[1] < 5.0, excess  # of the order of the step


class Fussy(fx.AbstractMemory):
    """A fiber with memory whose solve fails in steps longer than `longest`, beyond the strain `limit`, or from a warm start
    further than `warm` from its history."""

    inner: fx.AbstractMemory
    longest: float = 1e9
    limit: float = 1e9
    warm: float = 1e9

    def begin(self, condition):
        return self.inner.begin(condition)

    def increment(self, history, dt):
        return _FussyStep(self.inner.increment(history, dt), history.strain, dt, self.longest, self.limit, self.warm)

    def accept(self, history, state, condition, dt):
        return self.inner.accept(history, state, condition, dt)


class _FussyStep(fx.AbstractEnergy):
    inner: fx.AbstractEnergy
    before: jax.Array
    dt: jax.Array
    longest: float
    limit: float
    warm: float

    def init(self, condition, key):
        return self.inner.init(condition, key)

    def energy(self, state, condition):
        return self.inner.energy(state, condition)

    def link(self, state, condition):
        return self.inner.link(state, condition)

    @property
    def solver(self):
        return _Fussily()


class _Fussily(fx.Minimise):
    def solve(self, fiber, state, condition, tolerance):
        found, out = fiber.inner.solver.solve(fiber.inner, state, condition, tolerance)
        failed = (jnp.abs(state - fiber.before) > fiber.warm) | (jnp.abs(condition) > fiber.limit) | (fiber.dt > fiber.longest)
        return jnp.where(failed, jnp.nan, found), out._replace(result=jnp.where(failed, 2, out.result).astype(jnp.int32))


def test_refused_load_steps_leave_no_trace():
    """A fiber that fails for load steps above 0.04: steps of 0.1 are halved twice, and the path is that of steps of 0.025."""
    go = lambda fiber, dt: fx.continuation(fx.Bundle(Loaded(), fiber), QUASISTATIC, jnp.zeros(2), t1=0.8, dt=dt)
    halved, straight = go(Fussy(PLASTIC, longest=0.04), 0.1), go(PLASTIC, 0.025)
    assert np.diff(halved.ts).max() <= 0.04
    np.testing.assert_allclose(halved.response, truth(PLASTIC, halved.macro, 0.0), rtol=1e-9, atol=1e-12)
    moves_once(PLASTIC, halved, np.diff(halved.ts))
    # a path of equal short steps ends nearby: rate-independent, so the steps matter little
    np.testing.assert_allclose(halved.section.history.dissipated, straight.section.history.dissipated, rtol=1e-2)


def test_retries_leave_no_trace():
    """A trial state far from the history fails; the second try starts from `init`, and the history is what it was."""
    go = lambda fiber: fx.evolve(fx.Bundle(Loaded(), fiber), QUASISTATIC, jnp.zeros(2), t1=1.0, dt=0.0625, stepper=fx.SDIRK2())
    tried, clean = go(Fussy(PLASTIC, warm=1e-3)), go(Fussy(PLASTIC))
    same((tried.macro, tried.section.history), (clean.macro, clean.section.history))


def test_a_failed_fiber_keeps_its_history():
    """Site 0 fails once its strain passes 1; its history stays where it was, and the other site does not notice."""
    ts = np.arange(1, 9) * 0.0625
    go = lambda fiber: fx.evolve(
        fx.Bundle(Given(), fiber), QUASISTATIC, jnp.asarray([0.3, 0.0]), t1=0.5, dt=0.0625, saveat=ts,
        stepper=fx.ForwardEuler(), fail_fraction=0.5,
    )  # fmt: skip
    failed, clean = go(Fussy(PLASTIC, limit=2.1)), go(PLASTIC)
    np.testing.assert_array_equal(failed.result[-8:, 0] != 0, np.asarray(failed.macro)[-8:, 0] > 2.1)
    assert 0 < np.sum(failed.result[-8:, 0] != 0) < 8 and not failed.result[:, 1].any()
    good = np.asarray(failed.macro)[-8:][failed.result[-8:, 0] == 0]
    expected = jax.tree.map(lambda x: x[-1], histories(PLASTIC, good, np.full(len(good), 0.0625)))
    same(jax.tree.map(lambda x: x[0], failed.section.history), jax.tree.map(lambda x: x[0], expected))
    same(jax.tree.map(lambda x: x[1], failed.section.history), jax.tree.map(lambda x: x[1], clean.section.history))


def test_a_refused_macro_step_leaves_no_trace():
    """The run stops in the step in which a fiber fails: its snapshot carries the history of the step before."""
    keeper = Keeper()
    with pytest.raises(fx.FiberFailure, match=r"1 of 2 fibers failed in step (\d+)") as caught:
        fx.evolve(
            fx.Bundle(Given(), Fussy(PLASTIC, limit=2.0)), QUASISTATIC, jnp.asarray([0.3, 0.0]), t1=0.5, dt=0.0625,
            stepper=fx.Heun(), checkpoint=keeper,
        )  # fmt: skip
    last = keeper.snapshots[-1]
    assert f"in step {last.step + 1}," in str(caught.value)
    clean = fx.evolve(
        fx.Bundle(Given(), PLASTIC), QUASISTATIC, jnp.asarray([0.3, 0.0]), t1=0.0625 * last.step, dt=0.0625,
        stepper=fx.Heun(),
    )  # fmt: skip
    np.testing.assert_array_equal(last.leaves["macro"], clean.macro[-1])
    for name in ("strain", "accumulated", "dissipated"):
        np.testing.assert_array_equal(last.leaves[f"section_history_{name}"], getattr(clean.section.history, name))
    assert clean.section.history.accumulated[0] > 0.1


def driven(fiber, end, stepper=None, steps=8):
    """The first strain after a run from 0 under a load that goes up to `end` and back in t = 1."""

    class Pulled(fx.AbstractMacro):
        end: jax.Array

        def conditions(self, macro):
            return macro

        def rate(self, t, macro, response):
            return 6.0 * (self.end * jnp.sin(jnp.pi * t) - macro - response)

    stepper = fx.SDIRK2() if stepper is None else stepper
    sol = fx.evolve(fx.Bundle(Pulled(end), fiber), fx.Quasistatic(1e-10), jnp.zeros(1), t1=1.0, dt=1.0 / steps, stepper=stepper)
    return sol.response[-1, 0]


@pytest.mark.parametrize("name", MEMORIES)
def test_derivatives_through_the_history(name):
    """d response / d (load, hardening or viscosity) through implicit steps against differences; no step ends at the kink."""
    make = {"plastic": lambda p: ElasticPlastic(2.0, p, 0.3), "maxwell": lambda p: Maxwell(0.5, 2.0, p)}[name]
    loss = jax.jit(lambda p, end: driven(make(p), end))
    point, h = (jnp.asarray(0.5), jnp.asarray(1.7)), 1e-5
    slopes = jax.jit(jax.grad(lambda p, end: driven(make(p), end), argnums=(0, 1)))(*point)
    for k in range(2):
        up, down = (tuple(x + s * h * (i == k) for i, x in enumerate(point)) for s in (1, -1))
        np.testing.assert_allclose(slopes[k], (loss(*up) - loss(*down)) / (2 * h), rtol=1e-5)
        assert abs(slopes[k]) > 1e-2


def test_derivatives_through_fibers():
    """d of the last stress of a path through `fx.Fibers.advance` with respect to each strain of the path."""
    path = jnp.asarray([0.3, 0.9, 1.4, 0.7, -0.4, -0.9])

    def last(path, fiber):
        fibers = fx.Fibers(fiber, QUASISTATIC, path[:1])
        section = fibers.begin(jnp.zeros(1))
        for strain in path:
            section, answer = fibers.advance(section, strain[None], dt=0.2)
        return answer.response[0]

    for fiber in (PLASTIC, MAXWELL):
        found = jax.jit(jax.grad(last))(path, fiber)
        one = lambda p, f=fiber: truth(f, np.asarray(p)[:, None], 0.2)[-1, 0]
        np.testing.assert_allclose(jax.jit(last)(path, fiber), one(path), rtol=1e-12)
        expected = [(one(path.at[k].add(1e-6)) - one(path.at[k].add(-1e-6))) / 2e-6 for k in range(6)]
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert np.abs(found[:-1]).max() > 1e-2


def test_two_trials_from_one_section_are_equal():
    fibers = fx.Fibers(PLASTIC, QUASISTATIC, jnp.zeros(3))
    first, _ = fibers.advance(fibers.begin(jnp.zeros(3)), jnp.asarray([0.2, 0.9, 1.5]), dt=0.1)
    one, other, again = (fibers.advance(first, jnp.asarray(c), dt=0.1) for c in ([1.0] * 3, [-2.0] * 3, [1.0] * 3))
    same(one, again)
    assert np.all(np.asarray(one[1].response) != np.asarray(other[1].response))
    np.testing.assert_allclose(
        one[1].response, [PLASTIC.truth(p)[-1] for p in ([0.2, 1.0], [0.9, 1.0], [1.5, 1.0])], rtol=1e-12
    )


@pytest.mark.parametrize("name", MEMORIES)
def test_no_time_is_a_time(name):
    """In a step of length 0 nothing viscous flows, and rate-independent plasticity does as always; derivatives are finite."""
    fiber = MEMORIES[name]
    fibers = fx.Fibers(fiber, QUASISTATIC, jnp.zeros(2))
    section, answer = fibers.advance(fibers.begin(jnp.zeros(2)), jnp.asarray([0.2, 1.5]), dt=0.0, tangent=True)
    expected = [2.5 * 0.2, 2.5 * 1.5] if name == "maxwell" else [fiber.truth([0.2])[0], fiber.truth([1.5])[0]]
    slope = [2.5, 2.5] if name == "maxwell" else [2.0, 2.0 * 0.5 / 2.5]
    np.testing.assert_allclose(answer.response, expected, rtol=1e-12)
    np.testing.assert_allclose(answer.tangent, slope, rtol=1e-12)
    if name == "maxwell":
        same(tuple(section.sites.history), (np.zeros(2), np.zeros(2)))


def test_what_has_no_meaning_is_refused():
    bundle = fx.Bundle(Loaded(), PLASTIC)
    with pytest.raises(fx.Mismatch, match=r"ElasticPlastic depends on the way there. Use fx.continuation"):
        fx.steady(bundle, QUASISTATIC, jnp.zeros(2))
    with pytest.raises(fx.Mismatch, match="Seamless carries states in time; ElasticPlastic has a history"):
        fx.evolve(bundle, fx.Seamless(), jnp.zeros(2), t1=1.0, dt=0.1)
    with pytest.raises(fx.Mismatch, match="relax needs a flow or an energy fiber"):
        fx.relax(PLASTIC)


def test_a_quadratic_dissipation_is_implicit_euler_of_the_relaxation():
    """(k + c + η/dt) u = k U² + η/dt u_n for a `Spring`, and what `relax` with an implicit stage of length dt gives."""
    spring, friction, dt = Spring(k=3.0, c=1.0), 0.7, 0.2
    fiber = Damped(spring, friction)
    fibers = fx.Fibers(fiber, fx.Quasistatic(1e-12), jnp.zeros(1))
    section, state = fibers.begin(jnp.asarray([0.4])), float(spring.init(jnp.asarray(0.4), None))
    for U in (0.4, 0.9, 1.2, 0.3):
        section, answer = fibers.advance(section, jnp.asarray([U]), dt=dt)
        state = (3.0 * U**2 + friction / dt * state) / (4.0 + friction / dt)
        np.testing.assert_allclose(section.sites.history, [state], rtol=1e-10)
        np.testing.assert_allclose(answer.response, [-2.0 * 3.0 * (state - U**2) * U], rtol=1e-9)


def test_only_the_history_of_energies_is_accepted():
    """Pieces that do not fit are named when the bundle is made."""

    class Wrong(ElasticPlastic):
        def accept(self, history, state, condition, dt):
            return state

    with pytest.raises(fx.Mismatch, match=r"Wrong.accept must give a tree like the history"):
        fx.Bundle(Decay(2), Wrong())
