"""Drivers that see all sites at once, and steppers that move fibers themselves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.numerics import trees
from fiberax.testing import CubicFlow, Decay


class Distinct(fx.Quasistatic, fx.AbstractSectionDriver):
    """Solves each distinct condition once; sites with an equal one take over what the first of them found."""

    capacity: int = eqx.field(static=True, default=2)

    def advance_sites(self, solve, fiber, ids, section, conditions, dt, learn):
        rows = conditions.shape[0]
        # Padded rows repeat the last site, so that they are copies of it as well.
        first = jnp.argmax(conditions[:, None] == conditions[None, :], axis=1)
        section = solve(first == jnp.arange(rows), section, conditions, self.capacity)
        return jax.tree.map(lambda x: x[first], section)


class Counted(CubicFlow):
    """Its solver counts its steps; a solve takes at least one."""


CUBIC = CubicFlow(a=0.5)
CONDITIONS = jnp.asarray([0.4, 0.9, 0.4, 0.4, 0.9, 1.3, 0.4])


def advanced(driver, chunk=None, conditions=CONDITIONS, fiber=CUBIC):
    fibers = fx.Fibers(fiber, driver, conditions, placement=fx.Placement(chunk=chunk))
    return fibers.advance(fibers.begin(conditions), conditions, tangent=True)


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_equal_digits_for_every_chunk(capacity):
    """What is decided for all sites depends on no chunk, and each condition is solved as by `Quasistatic` alone."""
    whole, answer = advanced(Distinct(1e-10, capacity=capacity))
    for chunk in (1, 3):
        section, found = advanced(Distinct(1e-10, capacity=capacity), chunk)
        jax.tree.map(np.testing.assert_array_equal, section, whole)
        np.testing.assert_array_equal(found.response, answer.response)
    plain = advanced(fx.Quasistatic(1e-10))[1]
    np.testing.assert_allclose(answer.response, plain.response, rtol=1e-12)
    np.testing.assert_allclose(answer.tangent, plain.tangent, rtol=1e-10)
    np.testing.assert_array_equal(answer.steps, plain.steps)
    assert not np.any(answer.result)


class Heard(CubicFlow):
    """Tells the host of each solve that it begins."""

    @property
    def solver(self):
        return _Heard(symmetric=True)


CALLS: list[float] = []


class _Heard(fx.Newton):
    def solve(self, fiber, state, condition, tolerance):
        jax.debug.callback(lambda c: CALLS.append(float(c)), condition)
        return super().solve(fiber, state, condition, tolerance)


def test_each_distinct_condition_is_solved_once():
    """One at a time, solves can be counted: three conditions, seven sites."""
    counts = {}
    for name, driver in (("distinct", Distinct(1e-10, capacity=1)), ("all", fx.Quasistatic(1e-10))):
        CALLS.clear()
        jax.block_until_ready(advanced(driver, 1, fiber=Heard(a=0.5)))
        jax.effects_barrier()
        counts[name] = sorted(round(c, 6) for c in CALLS)
    assert counts == {"distinct": [0.4, 0.9, 1.3], "all": [0.4] * 4 + [0.9] * 2 + [1.3]}


class Moody(CubicFlow):
    """Not defined above 1."""

    def rate(self, state, condition):
        return jnp.where(condition > 1.0, jnp.nan, super().rate(state, condition))


def test_failures_stay_with_their_sites():
    section, answer = advanced(Distinct(1e-10), fiber=Moody(a=0.5))
    np.testing.assert_array_equal(answer.result != 0, np.asarray(CONDITIONS) > 1.0)
    np.testing.assert_allclose(answer.response[:5], advanced(fx.Quasistatic(1e-10))[1].response[:5], rtol=1e-12)
    assert np.isnan(answer.response[5]) and not section.sites.own[5]


def test_runs_and_gradients():
    """In `evolve`, chunk by chunk and under grad, with the numbers of `Quasistatic`."""
    start = CONDITIONS
    go = lambda driver, start, chunk=None: fx.evolve(
        fx.Bundle(Decay(7), CUBIC), driver, start, t1=0.2, dt=0.1, placement=fx.Placement(chunk=chunk)
    )
    ours, theirs, chunked = go(Distinct(1e-10), start), go(fx.Quasistatic(1e-10), start), go(Distinct(1e-10), start, 3)
    np.testing.assert_allclose(ours.macro, theirs.macro, rtol=1e-11)
    np.testing.assert_array_equal(ours.macro, chunked.macro)
    assert not ours.result.any()


@pytest.mark.devices
def test_two_devices_give_the_digits_of_one():
    """In a process of its own, since devices are made when jax starts."""
    import subprocess
    import sys

    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 2); jax.config.update('jax_enable_x64', True)\n"
        "import importlib.util, numpy as np, fiberax as fx\n"
        f"spec = importlib.util.spec_from_file_location('drivers', {__file__!r})\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "fibers = lambda n: fx.Fibers(m.CUBIC, m.Distinct(1e-10), m.CONDITIONS, placement=fx.Placement(n, 2))\n"
        "one, two = (f.advance(f.begin(m.CONDITIONS), m.CONDITIONS)[1] for f in (fibers(1), fibers(2)))\n"
        "np.testing.assert_array_equal(one.response, two.response); print('equal')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip().endswith("equal"), done.stderr


class Projective(fx.AbstractStepper):
    """Two short steps of the fibers, then a long one of the macrostate: it moves carried fibers itself."""

    inner: float = 0.05

    @property
    def moves_fibers(self):
        return True

    def step(self, field, at):
        section = at.section
        for stage in range(2):
            section = field.advance(at.number, at.macro, section, jnp.asarray(self.inner), stage=stage)
        rate, section = field.rate(at.number, at.t, at.macro, section, jnp.zeros_like(at.dt))
        return trees.axpy(at.dt, rate, at.macro), section, jnp.asarray(True)


def test_steppers_may_move_fibers():
    """u' = U − u in two steps of 0.05 for each macro step of 0.4, by hand; the loop does not advance fibers as well."""
    fiber = fx.FlowFiber(lambda u, c: c - u, lambda c: 0.0 * c, lambda u, c: u)
    driver, dt = fx.Seamless(separation=np.inf), 0.4
    relaxed = fx.relax(fiber)
    sol = fx.evolve(
        fx.Bundle(Decay(2), relaxed), driver, jnp.asarray([1.0, 2.0]), t1=1.2, dt=dt, stepper=Projective(),
        saveat=[0.4, 0.8, 1.2],
    )  # fmt: skip
    macro, state = np.asarray([1.0, 2.0]), np.zeros(2)
    step = jax.jit(jax.vmap(lambda u, c: relaxed.step(u, c, jnp.asarray(0.05), None)))
    for found in np.asarray(sol.macro)[-3:]:
        for _ in range(2):
            state = np.asarray(step(jnp.asarray(state), jnp.asarray(macro)))
        macro = macro - dt * state
        np.testing.assert_allclose(found, macro, rtol=1e-12)
    np.testing.assert_allclose(sol.section.state, state, rtol=1e-12)
