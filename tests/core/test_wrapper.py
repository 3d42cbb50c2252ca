"""Wrappers: orders of them, faults that they once had, other units against differences, refusals, replicas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, OrnsteinUhlenbeck, SharedLoad

SEAMLESS = fx.Seamless(separation=np.inf)
C, R, T = 2.5, 0.3, 7.0
START = jnp.asarray([0.4, 0.9])
LOAD = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))


def relax_inside(fiber, *factors):
    return fx.rescale(fx.relax(fiber, friction=2.0, scheme=fx.Explicit()), *factors)


def relax_outside(fiber, *factors):
    return fx.relax(fx.rescale(fiber, *factors), friction=2.0, scheme=fx.Explicit())


@pytest.mark.parametrize("fiber", [CubicFlow(), LOAD], ids=["flow", "energy"])
@pytest.mark.parametrize(
    "driver", [SEAMLESS, pytest.param(fx.Quasistatic(1e-11), marks=pytest.mark.slow)], ids=["seamless", "quasistatic"]
)
def test_orders_of_wrappers(fiber, driver):
    """The same digits for unit factors, whichever is outside; other factors agree to round-off."""
    go = lambda f: fx.evolve(fx.Bundle(Decay(2), f), driver, START, t1=0.1, dt=0.05)
    plain, *unit = (
        go(f) for f in (fx.relax(fiber, friction=2.0, scheme=fx.Explicit()), relax_inside(fiber), relax_outside(fiber))
    )
    for sol in unit:
        jax.tree.map(np.testing.assert_array_equal, (sol.macro, sol.section), (plain.macro, plain.section))
    inside, outside = (go(make(fiber, C, R, T)) for make in (relax_inside, relax_outside))
    np.testing.assert_allclose(inside.macro, outside.macro, rtol=1e-10)
    np.testing.assert_allclose(inside.section.state, outside.section.state, rtol=1e-10)
    assert np.all(np.abs(inside.macro - plain.macro) > 1e-3)


def test_conformation_keeps_its_eigenvalues():
    """Its own motion is found below both wrappers: explicit steps of that length gave an eigenvalue of −5."""
    fiber = fx.fluids.GaussianDensity(2)
    gradient = jnp.asarray([[[0.5, 3.0], [0.0, -0.5]]])
    driver, macro = fx.Seamless(separation=np.inf), _Held()
    states = []
    for wrapped in (fx.relax(fiber), fx.relax(fx.rescale(fiber)), fx.rescale(fx.relax(fiber))):
        sol = fx.evolve(fx.Bundle(macro, wrapped), driver, gradient, t1=20.0, dt=2.0, stepper=fx.ForwardEuler())
        states.append(np.asarray(sol.section.state)[0])
    np.testing.assert_array_equal(states[1], states[0])
    np.testing.assert_array_equal(states[2], states[0])
    leaves = jax.tree.leaves(states[0])
    assert np.linalg.eigvalsh(leaves[0].reshape(2, 2)).min() > 0.0


class _Held(fx.AbstractMacro):
    """Conditions that do not move."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jnp.zeros_like(macro)


@pytest.fixture(scope="module")
def electrons():
    fcc = 2.0 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    ion = fx.solids.ions.Gaussian(2.0, 0.8)
    return fx.solids.KohnSham(fcc, [(ion, (0.0, 0.0, 0.0))], cutoff=4.5, kgrid=(1, 1, 1), xc=None)


def test_orbitals_stay_orthonormal(electrons):
    """Rescaled in time, relaxed with mass: the manifold is the fiber's own (a general one lost 4e-2 in 40 steps)."""
    fiber = fx.relax(fx.rescale(electrons, time=2.0), mass=1.0, friction=0.1)
    condition = 0.02 * jnp.eye(3)
    state = fiber.init(condition, jax.random.key(0))
    pushed = 0.1 * np.random.default_rng(0).standard_normal(state.position.shape)
    state = state._replace(position=electrons.manifold.retract(electrons, state.position + pushed, condition))

    @jax.jit
    def run(state):
        return jax.lax.fori_loop(0, 40, lambda _, s: fiber.step(s, condition, jnp.asarray(0.05), None), state)

    end = run(state)
    c = electrons.coefficients(end.position)
    overlap = np.einsum("kbg,kcg->kbc", np.conj(c), c)
    np.testing.assert_allclose(overlap, np.broadcast_to(np.eye(c.shape[1]), overlap.shape), atol=1e-10)
    assert np.abs(np.asarray(end.position) - np.asarray(state.position)).max() > 1e-3


@pytest.fixture(scope="module")
def crystal():
    return fx.solids.Crystal(
        [[3.0**0.5, 0.0], [0.75**0.5, 1.5]],
        [[0.0, 0.0], [1 / 3, 1 / 3]],
        ["C", "C"],
        fx.solids.potentials.Pair(lambda r: 20.0 * (r - 1.0) ** 2 * (r - 3.0**0.5) ** 2, 1.85, "smooth", onset=1.8),
        stretch=0.9,
        shift=0.06,
    )


def test_a_rescaled_crystal_is_a_crystal(crystal):
    """Its assembled tangent and its own Newton step, by their types and their numbers, in other units."""
    A = jnp.asarray([[0.02, 0.01], [-0.01, -0.015]])
    scaled = fx.rescale(crystal, condition=C, response=R)
    assert isinstance(scaled, fx.AbstractAssembled) and scaled.highest_order == crystal.highest_order == 2
    inner, outer = fx.response(crystal, A, tangent=True), fx.response(scaled, A / C, tangent=True)
    np.testing.assert_allclose(outer.value, R * inner.value, rtol=1e-9)
    np.testing.assert_allclose(outer.tangent, R * C * inner.tangent, rtol=1e-8)
    np.testing.assert_allclose(outer.energy, R / C * inner.energy, rtol=1e-12)  # its derivative is the rescaled response
    state = jnp.full((1, 2), 0.01)
    step = jax.jit(lambda s: (scaled.solver.step(scaled, s, A / C), crystal.solver.step(crystal, s, A)))(state)
    np.testing.assert_allclose(step[0][0], step[1][0], rtol=1e-10)
    one, other = (fx.Fibers(f, fx.Monolithic(), c[None]) for f, c in ((scaled, A / C), (crystal, A)))
    pair = [f.advance(f.begin(c[None]), c[None], tangent=True)[1] for f, c in ((one, A / C), (other, A))]
    np.testing.assert_allclose(pair[0].response, R * pair[1].response, rtol=1e-9)
    np.testing.assert_allclose(pair[0].tangent, R * C * pair[1].tangent, rtol=1e-8)


def test_tangents_against_differences(crystal):
    step = 1e-4
    scaled, along = fx.rescale(crystal, condition=C, response=R), fx.solids.uniaxial(crystal, [1.0, 0.4])
    D = np.asarray([[0.3, -0.5], [0.2, 0.1]])
    for fiber, condition, direction in ((scaled, np.full((2, 2), 0.005), D), (along, 0.01, 1.0)):
        at = np.stack([condition + k * step * direction for k in (-2, -1, 1, 2)])
        found = fx.responses(fiber, at, tolerance=1e-12).value
        slope = np.tensordot(np.asarray([1.0, -8.0, 8.0, -1.0]) / (12.0 * step), found, axes=1)
        tangent = fx.response(fiber, condition, tangent=True, tolerance=1e-12).tangent
        np.testing.assert_allclose(np.tensordot(tangent, direction, axes=np.ndim(direction)), slope, rtol=1e-6, atol=1e-8)


def test_one_factor_for_a_tree():
    fiber = fx.FlowFiber(lambda u, c: c["a"] - u, lambda c: jnp.zeros(()), lambda u, c: {"p": u, "q": c["b"]})
    value = fx.response(fx.rescale(fiber, condition=C, response=R), {"a": 1.0, "b": 2.0}).value
    np.testing.assert_allclose([value["p"], value["q"]], [R * C, 2.0 * R * C])


class AbstractMagnetic(fx.AbstractCapability):
    """A capability that no table knows."""


class Magnet(AbstractMagnetic, fx.FlowFiber):
    pass


def test_what_nobody_knows_is_refused():
    fiber = Magnet(lambda u, c: c - u, lambda c: jnp.zeros_like(c), lambda u, c: u)
    for wrap in (fx.Mapped, fx.rescale, fx.relax):
        with pytest.raises(fx.Mismatch, match=r"Magnet cannot be wrapped: .* its capability AbstractMagnetic"):
            wrap(fiber)

    class Bare(fx.AbstractFiber):
        def init(self, condition, key):
            return condition

    with pytest.raises(fx.Mismatch, match="Bare is neither a flow, an energy, a memory nor a dynamic fiber"):
        fx.Mapped(Bare())
    for factors in ({"condition": 0.0}, {"response": np.inf}, {"time": -1.0}):
        with pytest.raises(fx.BadInput, match=f"rescale: .*{next(iter(factors))}"):
            fx.rescale(CubicFlow(), **factors)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"time": -1.0}, "time must be a positive number; it is -1.0"),
        ({"energy": float("nan")}, "energy must be a positive number; it is nan"),
        ({"energy": 2.0}, "energy without effect: CubicFlow has no energy"),
    ],
)
def test_numbers_that_are_none(options, words):
    fiber = fx.testing.Spring() if options.get("energy") != 2.0 else fx.testing.CubicFlow()
    with pytest.raises(fx.BadInput, match=words):
        fx.Mapped(fiber, **options)


def test_states_that_begin_at_rest():
    fiber = fx.Mapped(CubicFlow(a=0.5), state=fx.AtRest(1e-12))
    state = eqx.filter_jit(fiber.init)(jnp.asarray(0.9), jax.random.key(0))
    np.testing.assert_allclose(CubicFlow(a=0.5).condition_of(state), 0.9, rtol=1e-10)
    with pytest.raises(fx.Mismatch, match="only flows and energies can begin at rest"):
        fx.Mapped(OrnsteinUhlenbeck(), state=fx.AtRest())


def test_replicas():
    """The mean of copies, the standard error of their spread, and the same numbers after a restart."""
    walker = OrnsteinUhlenbeck(k=2.0, diffusion=0.7, members=4)
    fiber, keeper = fx.replicas(walker, 50), Keeper()
    assert isinstance(fiber, fx.AbstractEnsemble) and isinstance(fiber, fx.AbstractStochastic)
    options = {"t1": 2.0, "dt": 0.5, "saveat": [1.0, 2.0], "key": jax.random.key(4)}
    bundle, held = fx.Bundle(_Held(), fiber), jnp.full(20, 0.6)
    sol = fx.evolve(bundle, SEAMLESS, held, checkpoint=keeper, **options)
    assert sol.section.state.shape == (20, 50, 4)
    error = np.sqrt(walker.variance(0.6) / 50)
    np.testing.assert_allclose(np.mean(sol.stderr[-1] ** 2) ** 0.5, error, rtol=4.0 * (2.0 / (50 * 20)) ** 0.5)
    off = (sol.response[-1] - walker.mean(0.6)) / error
    assert abs(np.mean(off)) < 4.0 / 20**0.5 and 0.4 < np.std(off) < 1.6
    states = np.asarray(sol.section.state)
    assert len(np.unique(states)) == states.size  # no copy shares its noise
    direct = np.mean(states**2, axis=2)
    link, spread = jax.vmap(fiber.link)(sol.section.state, held), jax.vmap(fiber.standard_error)(sol.section.state, held)
    np.testing.assert_allclose(link, direct.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(spread, direct.std(axis=1, ddof=1) / 50**0.5, rtol=1e-10)
    snapshot = next(s for s in keeper.snapshots if s.step == 2)
    rest = fx.evolve(bundle, SEAMLESS, held, start=snapshot, **options)
    jax.tree.map(np.testing.assert_array_equal, rest.section, sol.section)
    with pytest.raises(fx.Mismatch, match="copies are for fibers with dynamics"):
        fx.replicas(CubicFlow(), 3)
    with pytest.raises(fx.BadInput, match="number of copies must be a whole number"):
        fx.replicas(walker, 0)
