"""The law of wrappers: one with unit factors is the model itself, in every method, capability and strategy.

`rescale` with unit factors, and wrappers whose maps change nothing, run the very same program as the model: they agree to the
last digit. Multiplied by ones, programs differ in text, and compilers arrange their sums in other ways: round-off is allowed.
"""

import re
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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
    fx.AbstractSummarised,
)
KINDS = (fx.AbstractFlow, fx.AbstractEnergy, fx.AbstractMemory, fx.AbstractDynamic, fx.AbstractStochastic)
WRAPPERS = {
    "rescale": fx.rescale,
    "identity": lambda fiber: fx.Mapped(fiber, condition=lambda c: c, response=lambda r: r),
}


def _scaled(factor, tree):
    return jax.tree.map(lambda x: factor * x, tree)


class At(NamedTuple):
    """Where a fiber is asked. The time is a number, and no constant of the program, which a compiler would compute with."""

    state: Any
    condition: Any
    time: jax.Array


def _solver_faces(fiber, at):
    state, condition, shift = at
    solver, half = solver_of(fiber), _scaled(0.5, state)
    return {
        "solve": lambda: solver.solve(fiber, state, condition, 1e-9),
        "solver step": lambda: solver.step(fiber, state, condition),
        "stage": lambda: solver.stage(fiber, state, condition, half, shift, 1e-9),
        "approximate inverse": lambda: solver.approximate_inverse(fiber, half, condition, shift),
        "approximate inverse at rest": lambda: solver.approximate_inverse(fiber, half, condition, 0.0 * shift),
    }


def _energy_faces(fiber, at):
    state, condition, _ = at
    manifold, off = manifold_of(fiber), _scaled(1.01, state)
    return {
        "energy": lambda: fiber.energy(state, condition),
        "constraint": lambda: fiber.constraint(off, condition),
        "metric": lambda: jax.tree.map(jnp.asarray, fiber.metric(state)),
        "retract": lambda: manifold.retract(fiber, off, condition),
        "retract along": lambda: manifold.retract(fiber, off, condition, state),
        "project": lambda: manifold.project(fiber, state, off, condition),
    }


def _memory_faces(fiber, at):
    state, condition, dt = at
    history = lambda: fiber.accept(fiber.begin(condition), state, condition, dt)
    inside = fiber.increment(fiber.begin(condition), dt)
    found = {
        "begin": lambda: fiber.begin(condition),
        "accept": history,
        "dissipated": lambda: fiber.dissipated(history()),
    }
    if isinstance(fiber, fx.AbstractSummarised):
        found["summary"] = lambda: fiber.summary(history())
        found["recover"] = lambda: fiber.recover(fiber.summary(history()))
        found["rate independent"] = lambda: jnp.asarray(fiber.rate_independent)
    step = {**_energy_faces(inside, at), **_solver_faces(inside, at)}
    step["link"] = lambda: apply_link(None, inside, state, condition)
    return found | {f"increment, {name}": face for name, face in step.items()}


def _dynamic_faces(fiber, at):
    state, condition, time = at
    dt, key = 0.01 * time, jax.random.key(1)
    return {
        "step": lambda: fiber.step(state, condition, dt, key),
        "timestep": lambda: fiber.timestep(condition),
        "verdict": lambda: fiber.verdict(state),
        "relaxation time": lambda: fiber.relaxation_time(condition),
    }


def _capability_faces(fiber, at):
    state, condition, time = at
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
        found["propagate"] = lambda: fiber.propagate(state, condition, 0.1 * time)
    return found


def faces(fiber, at):
    """All that can be asked of a fiber at one state and condition, by name, as functions without arguments."""
    state, condition, _ = at
    found = {
        "init": lambda: fiber.init(condition, jax.random.key(0)),
        "link": lambda: apply_link(None, fiber, state, condition),
        "align": lambda: fiber.mixing.align(state, _scaled(1.1, state)),
        "limit": lambda: fiber.mixing.limit(_scaled(1.1, state), state),
    }
    found |= _capability_faces(fiber, at)
    if isinstance(fiber, fx.AbstractFlow):
        found["rate"] = lambda: fiber.rate(state, condition)
    if isinstance(fiber, fx.AbstractFlow | fx.AbstractEnergy):
        found |= _solver_faces(fiber, at)
    if isinstance(fiber, fx.AbstractEnergy):
        found |= _energy_faces(fiber, at)
    if isinstance(fiber, fx.AbstractMemory):
        found |= _memory_faces(fiber, at)
    if isinstance(fiber, fx.AbstractDynamic):
        found |= _dynamic_faces(fiber, at)
    return found


def plain(fiber):
    """What a fiber says of itself without numbers."""
    found = [isinstance(fiber, kind) for kind in (*KINDS, *CAPABILITIES)]
    found += [fiber.mixing.refusal, [fiber.remedy(code) for code in (0, 2, 4, 100, 101)]]
    if isinstance(fiber, fx.AbstractFlow | fx.AbstractEnergy):
        found += [solver_of(fiber).symmetric, solver_of(fiber).dense_limit]
    if isinstance(fiber, fx.AbstractDynamic):
        found += [fiber.implicit, fiber.workspace]
    if isinstance(fiber, fx.AbstractAssembled):
        found += [fiber.highest_order]
    return found


def one(entry):
    """A state off its equilibrium, a condition and a time, of one site."""
    held = getattr(entry, "conditions", None)
    condition = entry.condition if held is None else jax.tree.map(lambda x: jnp.asarray(x)[2], held)
    state = eqx.filter_jit(entry.fiber.init)(condition, jax.random.key(3))
    shaken = lambda x: x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    return At(jax.tree.map(lambda x: jnp.asarray(shaken(x), x.dtype), state), condition, jnp.asarray(2.0))


def program(face):
    """The text of the program of a face, and the numbers in it; addresses of functions left out."""
    closed = jax.make_jaxpr(face)()
    return re.sub(r"0x[0-9a-f]+", "", str(closed)), [np.asarray(c) for c in closed.consts if not _is_key(c)]


def _is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


# A sign that a response map may bring is taken off; tangents pass through the maps column by column. Their digits are tested
# below.
RESHAPED = ("standard error", "tangent of", "assemble 2")


def test_without_maps_the_program_is_the_same(entry):
    at = one(entry)
    theirs = faces(entry.fiber, at)
    programs = {name: program(face) for name, face in theirs.items() if name not in RESHAPED}
    for wrapped, wrap in WRAPPERS.items():
        fiber = wrap(entry.fiber)
        assert plain(fiber) == plain(entry.fiber), wrapped
        ours = faces(fiber, at)
        assert list(ours) == list(theirs) and len(ours) > 8, wrapped
        for name, (text, numbers) in programs.items():
            found, values = program(ours[name])
            assert found == text, (wrapped, name)
            jax.tree.map(lambda a, b, told=(wrapped, name): np.testing.assert_array_equal(a, b, str(told)), values, numbers)


SOLVING = ("solve", "solver step", "stage", "tangent of", "assemble 2", "retract", "retract along", "project")


def ones(fiber):
    """All maps are there, and multiply by 1."""
    scaled = lambda tree: jax.tree.map(lambda x: jnp.ones(()) * x, tree)
    return fx.Mapped(fiber, condition=scaled, response=scaled, time=1.0)


def test_factors_of_one_change_nothing_but_round_off(entry):
    """Each face in a program of its own would cost a minute for electrons, so all of a fiber are in one."""
    fiber, at = ones(entry.fiber), one(entry)
    assert plain(fiber) == plain(entry.fiber)
    skipped = SOLVING if not getattr(entry, "driven", True) else ()

    @eqx.filter_jit
    def values(fiber, at):
        return {name: face() for name, face in faces(fiber, at).items() if name not in skipped}

    ours, theirs = values(fiber, at), values(entry.fiber, at)
    assert list(ours) == list(theirs)

    def close(a, b, name):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11 * np.abs(b).max(initial=0.0), err_msg=name)

    for name, value in theirs.items():
        found = ours[name]
        if name in ("solve", "solver step", "stage"):  # residuals and steps are about round-off
            found, value = found[0], value[0]
        jax.tree.map(lambda a, b, name=name: close(a, b, name), found, value)
