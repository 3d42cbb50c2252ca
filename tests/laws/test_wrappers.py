"""The law of wrappers: one with unit factors is the model itself, in every method, capability and strategy.

A wrapper without maps, and one whose maps change nothing, run the very same program as the model. Multiplied by ones, programs
differ in text and must agree in every digit.
"""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.capabilities import energy_of, standard_error_of, tangent_of
from fiberax.core.link import apply_link
from fiberax.core.solvers import manifold_of, solver_of

CAPABILITIES = (
    fx.AbstractMonitored,
    fx.AbstractEnsemble,
    fx.AbstractEnergetic,
    fx.AbstractAssembled,
    fx.AbstractTangent,
    fx.AbstractStationary,
    fx.AbstractPropagated,
)
KINDS = (fx.AbstractFlow, fx.AbstractEnergy, fx.AbstractMemory, fx.AbstractDynamic, fx.AbstractStochastic)
WRAPPERS = {
    "bare": fx.Mapped,
    "identity": lambda fiber: fx.Mapped(fiber, condition=lambda c: c, response=lambda r: r),
}


def _scaled(factor, tree):
    return jax.tree.map(lambda x: factor * x, tree)


def _solver_faces(fiber, state, condition):
    solver = solver_of(fiber)
    shift, half = jnp.asarray(2.0), _scaled(0.5, state)
    return {
        "solve": lambda: solver.solve(fiber, state, condition, 1e-9),
        "solver step": lambda: solver.step(fiber, state, condition),
        "stage": lambda: solver.stage(fiber, state, condition, half, shift, 1e-9),
        "approximate inverse": lambda: solver.approximate_inverse(fiber, half, condition, shift),
        "approximate inverse at rest": lambda: solver.approximate_inverse(fiber, half, condition, jnp.zeros(())),
    }


def _energy_faces(fiber, state, condition):
    manifold, off = manifold_of(fiber), _scaled(1.01, state)
    return {
        "energy": lambda: fiber.energy(state, condition),
        "constraint": lambda: fiber.constraint(off, condition),
        "metric": lambda: jax.tree.map(jnp.asarray, fiber.metric(state)),
        "retract": lambda: manifold.retract(fiber, off, condition),
        "retract along": lambda: manifold.retract(fiber, off, condition, state),
        "project": lambda: manifold.project(fiber, state, off, condition),
    }


def _memory_faces(fiber, state, condition):
    dt = jnp.asarray(0.3)
    history = lambda: fiber.accept(fiber.begin(condition), state, condition, dt)
    inside = fiber.increment(fiber.begin(condition), dt)
    found = {
        "begin": lambda: fiber.begin(condition),
        "accept": history,
        "dissipated": lambda: fiber.dissipated(history()),
    }
    step = {**_energy_faces(inside, state, condition), **_solver_faces(inside, state, condition)}
    step["link"] = lambda: apply_link(None, inside, state, condition)
    return found | {f"increment, {name}": face for name, face in step.items()}


def _dynamic_faces(fiber, state, condition):
    dt, key = jnp.asarray(0.01), jax.random.key(1)
    return {
        "step": lambda: fiber.step(state, condition, dt, key),
        "timestep": lambda: fiber.timestep(condition),
        "verdict": lambda: fiber.verdict(state),
        "relaxation time": lambda: fiber.relaxation_time(condition),
    }


def _capability_faces(fiber, state, condition):
    found = {
        "energy of": lambda: energy_of(fiber, state, condition),
        "standard error": lambda: standard_error_of(fiber, state, condition),
        "tangent of": lambda: tangent_of(fiber, state, condition),
    }
    if isinstance(fiber, fx.AbstractMonitored):
        found["stability margin"] = lambda: fiber.stability_margin(state, condition)
    if isinstance(fiber, fx.AbstractAssembled):
        found["assemble 1"] = lambda: fiber.assemble(state, condition, 1)
        if fiber.highest_order == 2:
            found["assemble 2"] = lambda: fiber.assemble(state, condition, 2)
    if isinstance(fiber, fx.AbstractStationary):
        found["stationary link"] = lambda: fiber.stationary_link(state, condition)
    if isinstance(fiber, fx.AbstractPropagated):
        found["propagate"] = lambda: fiber.propagate(state, condition, jnp.asarray(0.1))
    return found


def faces(fiber, state, condition):
    """All that can be asked of a fiber at one state and condition, by name, as functions without arguments."""
    found = {
        "init": lambda: fiber.init(condition, jax.random.key(0)),
        "link": lambda: apply_link(None, fiber, state, condition),
        "align": lambda: fiber.mixing.align(state, _scaled(1.1, state)),
        "limit": lambda: fiber.mixing.limit(_scaled(1.1, state), state),
    }
    found |= _capability_faces(fiber, state, condition)
    if isinstance(fiber, fx.AbstractFlow):
        found["rate"] = lambda: fiber.rate(state, condition)
    if isinstance(fiber, fx.AbstractFlow | fx.AbstractEnergy):
        found |= _solver_faces(fiber, state, condition)
    if isinstance(fiber, fx.AbstractEnergy):
        found |= _energy_faces(fiber, state, condition)
    if isinstance(fiber, fx.AbstractMemory):
        found |= _memory_faces(fiber, state, condition)
    if isinstance(fiber, fx.AbstractDynamic):
        found |= _dynamic_faces(fiber, state, condition)
    return found


def plain(fiber):
    """What a fiber says of itself without numbers."""
    found = [isinstance(fiber, kind) for kind in (*KINDS, *CAPABILITIES)]
    found += [fiber.mixing.refusal, [fiber.remedy(code) for code in (0, 2, 4, 100, 101)]]
    if isinstance(fiber, fx.AbstractFlow | fx.AbstractEnergy):
        found += [solver_of(fiber).symmetric, solver_of(fiber).dense_limit]
    if isinstance(fiber, fx.AbstractDynamic):
        found += [fiber.implicit]
    if isinstance(fiber, fx.AbstractAssembled):
        found += [fiber.highest_order]
    return found


def one(entry):
    """A state off its equilibrium and a condition, of one site."""
    held = getattr(entry, "conditions", None)
    condition = entry.condition if held is None else jax.tree.map(lambda x: jnp.asarray(x)[2], held)
    state = eqx.filter_jit(entry.fiber.init)(condition, jax.random.key(3))
    shaken = lambda x: x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    return jax.tree.map(lambda x: jnp.asarray(shaken(x), x.dtype), state), condition


def program(face):
    """The text of the program of a face, and the numbers in it; addresses of functions left out."""
    closed = jax.make_jaxpr(face)()
    return re.sub(r"0x[0-9a-f]+", "", str(closed)), [np.asarray(c) for c in closed.consts if not _is_key(c)]


def _is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=list(WRAPPERS))
def test_without_maps_the_program_is_the_same(entry, wrap):
    fiber, (state, condition) = wrap(entry.fiber), one(entry)
    assert plain(fiber) == plain(entry.fiber)
    theirs, ours = faces(entry.fiber, state, condition), faces(fiber, state, condition)
    assert list(ours) == list(theirs) and len(ours) > 8
    for name, face in theirs.items():
        text, numbers = program(face)
        found, values = program(ours[name])
        assert found == text, name
        jax.tree.map(lambda a, b, name=name: np.testing.assert_array_equal(a, b, name), values, numbers)


SOLVING = ("solve", "solver step", "stage", "tangent of", "assemble 2", "retract", "retract along", "project")


def unit(fiber):
    return fx.rescale(fiber, condition=1.0, response=1.0, time=1.0)


def test_unit_factors_change_no_digit(entry):
    """Each face in a program of its own would cost a minute for electrons, so all of a fiber are in one."""
    fiber, (state, condition) = unit(entry.fiber), one(entry)
    assert plain(fiber) == plain(entry.fiber)
    skipped = SOLVING if not getattr(entry, "driven", True) else ()

    @eqx.filter_jit
    def values(fiber, state, condition):
        found = faces(fiber, state, condition)
        return {name: face() for name, face in found.items() if name not in skipped}

    ours, theirs = values(fiber, state, condition), values(entry.fiber, state, condition)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        jax.tree.map(lambda a, b, name=name: np.testing.assert_array_equal(a, b, name), ours[name], value)
